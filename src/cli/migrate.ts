import { holdsDatabase } from '../data-dir/layout.ts'
import type { MigrationConnection } from '../db/database.ts'
import { migrateDown, migrateUp, readApplied } from '../db/migrations/migrate.ts'
import { revokeSharedRole } from '../db/migrations/shared-role.ts'
import {
  compareMigrations,
  ensureMayMigrate,
  type MigrationStatus,
  migrationStatus,
} from '../db/migrations/status.ts'
import { type DatabaseOptions, withMigrationConnection } from '../db/open.ts'
import { OperatorError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { type Command, UsageError } from './command.ts'
import { print } from './print.ts'
import { setUp } from './setup.ts'

export const migrate: Command = {
  summary: 'apply or revert migrations, or show their status',
  usage: 'up | down [n] | status | finish [--json]',
  details: [
    'up       apply pending migrations, each in a transaction of its own',
    'down n   revert the last n migrations (default 1); data that only they can hold is lost',
    'status   list the migrations and when each was applied; exit code 1 if the database has one that this release does',
    '         not know or has with a different text',
    'finish   end an upgrade at once: take the rights on this database that the role minimart_app of earlier releases has,',
    '         which housekeeping does a day after their last session. Their instances cannot go on afterwards',
    '--json   print one JSON object instead of text',
    '',
    'Migrations take a lock, so this is safe while instances serve or start. Progress goes to standard error. serve applies',
    'pending migrations by itself, unless AUTO_MIGRATE=false. Take a backup before down.',
    '',
    'Before going back to an older release, revert what the newer one added:',
    '  minimart migrate status',
    '  minimart migrate down',
  ].join('\n'),
  positionals: 2,
  options: { json: { type: 'boolean' } },
  async run({ values, positionals: [direction, count, ..._] }) {
    const steps = direction === 'down' ? readSteps(count) : null
    if (
      !['up', 'down', 'status', 'finish'].includes(direction ?? '') ||
      (steps === null && count !== undefined)
    )
      throw new UsageError('Use minimart migrate up, down [n], status or finish.')
    const { config, log } = setUp({}, undefined, process.stderr)
    const options = { ...config, log, autoMigrate: false }
    const { result, text, code } = await (direction === 'status'
      ? readStatus(options).then(describeStatus)
      : withMigrationConnection(options, (connection) =>
          direction === 'finish' ? finish(connection) : move(connection, log, steps),
        ))
    await print(values['json'] === true ? JSON.stringify(result) : text)
    return code
  },
}

interface Outcome {
  /** For `--json`. */
  result: object
  text: string
  /** The exit code. */
  code: number
}

/** Does not create an embedded database that is missing. */
const readStatus = async (options: DatabaseOptions): Promise<MigrationStatus[]> =>
  compareMigrations(
    options.databaseUrl === null && !holdsDatabase(options.dataDir)
      ? []
      : await withMigrationConnection(options, readApplied),
  )

function describeStatus(steps: MigrationStatus[]): Outcome {
  const line = ({ version, name, appliedAt, state }: MigrationStatus): string =>
    `${String(version).padStart(4, '0')}  ${name.padEnd(32)}  ${appliedAt ?? ''}${remarks[state]}`
  return {
    result: {
      current: steps.every(({ state }) => state === 'applied'),
      migrations: steps.map(({ appliedAt, ...step }) => ({ ...step, applied_at: appliedAt })),
    },
    text: steps.map(line).join('\n'),
    code: steps.some(({ state }) => state === 'unknown' || state === 'changed') ? 1 : 0,
  }
}

const remarks: Record<MigrationStatus['state'], string> = {
  applied: '',
  pending: 'pending',
  unknown: '  unknown to this program: the release that applied it can revert it',
  changed: '  changed: applied with a different text than this release has',
}

/** @param steps how many to revert; null: up */
async function move(connection: MigrationConnection, log: Logger, steps: number | null): Promise<Outcome> {
  const direction = steps === null ? 'up' : 'down'
  const done =
    steps === null ? await migrateUp(connection, { log }) : await migrateDown(connection, { log }, steps)
  return {
    result: { direction, migrations: done },
    text: done.length === 0 ? 'Nothing to do.' : `${direction}: ${done.join(', ')}`,
    code: 0,
  }
}

async function finish(connection: MigrationConnection): Promise<Outcome> {
  const pending = (await migrationStatus(connection)).filter(({ appliedAt }) => appliedAt === null)
  if (pending.length > 0) throw new OperatorError('First apply the pending migrations: minimart migrate up.')
  await ensureMayMigrate(connection)
  const revoked = await revokeSharedRole(connection)
  return {
    result: { direction: 'finish', revoked },
    text: revoked ? 'The role minimart_app has no rights on this database any more.' : 'Nothing to do.',
    code: 0,
  }
}

function readSteps(count = '1'): number {
  if (!/^[1-9]\d{0,3}$/.test(count))
    throw new UsageError('The number of migrations to revert must be an integer from 1.')
  return Number(count)
}
