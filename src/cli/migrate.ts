import { holdsDatabase } from '../data-dir/layout.ts'
import type { MigrationConnection } from '../db/database.ts'
import { migrateDown, migrateUp, readApplied } from '../db/migrations/migrate.ts'
import { compareMigrations, type MigrationStatus } from '../db/migrations/status.ts'
import { type DatabaseOptions, withMigrationConnection } from '../db/open.ts'
import type { Logger } from '../log.ts'
import { type Command, UsageError } from './command.ts'
import { print } from './print.ts'
import { setUp } from './setup.ts'

export const migrate: Command = {
  summary: 'bring the database up to date, take steps back, or tell how it stands',
  usage: 'up | down [n] | status [--json]',
  details: [
    'up       applies what is pending, each migration in a transaction of its own',
    'down n   takes the last n steps back (1 if left out); what those steps hold is lost',
    'status   lists the migrations and when each was applied; exit code 1 where the database has one that this program',
    '         does not know, or had another text of',
    '--json   prints one JSON object instead of words, for scripts',
    '',
    'Instances and operators wait for each other, so it may be called while others serve or start. Progress goes to',
    'standard error. serve applies what is pending by itself, unless AUTO_MIGRATE=false. Take a backup before down.',
    '',
    'Before going back to an older release, let the newer one undo what it added:',
    '  minimart migrate status',
    '  minimart migrate down',
  ].join('\n'),
  positionals: 2,
  options: { json: { type: 'boolean' } },
  async run({ values, positionals: [direction, count, ..._] }) {
    const steps = direction === 'down' ? readSteps(count) : null
    if (!['up', 'down', 'status'].includes(direction ?? '') || (steps === null && count !== undefined))
      throw new UsageError('Say: minimart migrate up, minimart migrate down [n], or minimart migrate status.')
    const { config, log } = setUp({}, undefined, process.stderr)
    const options = { ...config, log, autoMigrate: false }
    const { result, words, code } = await (direction === 'status'
      ? readStatus(options).then(tellStatus)
      : withMigrationConnection(options, (connection) => move(connection, log, steps)))
    await print(values['json'] === true ? JSON.stringify(result) : words)
    return code
  },
}

interface Told {
  /** For `--json`. */
  result: object
  words: string
  /** The exit code. */
  code: number
}

/** Where there is no embedded database yet, none is made for this. */
const readStatus = async (options: DatabaseOptions): Promise<MigrationStatus[]> =>
  compareMigrations(
    options.databaseUrl === null && !holdsDatabase(options.dataDir)
      ? []
      : await withMigrationConnection(options, readApplied),
  )

function tellStatus(steps: MigrationStatus[]): Told {
  const line = ({ version, name, appliedAt, state }: MigrationStatus): string =>
    `${String(version).padStart(4, '0')}  ${name.padEnd(32)}  ${appliedAt ?? ''}${remarks[state]}`
  return {
    result: {
      current: steps.every(({ state }) => state === 'applied'),
      migrations: steps.map(({ appliedAt, ...step }) => ({ ...step, applied_at: appliedAt })),
    },
    words: steps.map(line).join('\n'),
    code: steps.some(({ state }) => state === 'unknown' || state === 'changed') ? 1 : 0,
  }
}

const remarks: Record<MigrationStatus['state'], string> = {
  applied: '',
  pending: 'pending',
  unknown: '  unknown to this program: the release that made it can take it back',
  changed: '  changed: applied with another text than this program has',
}

/** @param steps how many to take back; null: up */
async function move(connection: MigrationConnection, log: Logger, steps: number | null): Promise<Told> {
  const direction = steps === null ? 'up' : 'down'
  const done =
    steps === null ? await migrateUp(connection, { log }) : await migrateDown(connection, { log }, steps)
  return {
    result: { direction, migrations: done },
    words: done.length === 0 ? 'Nothing to do.' : `${direction}: ${done.join(', ')}`,
    code: 0,
  }
}

function readSteps(count = '1'): number {
  if (!/^[1-9]\d{0,3}$/.test(count))
    throw new UsageError('The number of steps must be a whole number from 1.')
  return Number(count)
}
