/**
 * One migration, up or down, in a transaction of its own. A statement that waits for a table lets nobody pass who comes
 * after it, so a step waits a moment only, lets go of all it holds, and tries again: a release that still serves is held
 * up for that moment, however long an export or a dump keeps the table.
 */

import { createHash } from 'node:crypto'
import { AppError, OperatorError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { MigrationConnection } from '../database.ts'
import { errorCode, isConnectionFailure } from '../errors.ts'
import type { Migration } from './migrations.ts'

/** A statement waited for longer than lock_timeout. */
export const lockNotAvailable = '55P03'

export interface Patience {
  /** How long a statement waits for a table, and whoever comes after it, too. */
  readonly lockMs: number
  readonly pauseMs: number
  readonly tries: number
}

/** Ten minutes in all. */
const usualPatience: Patience = { lockMs: 3000, pauseMs: 7000, tries: 60 }

export interface Step {
  readonly direction: 'up' | 'down'
  readonly migration: Migration
  readonly patience?: Patience
}

/** @throws OperatorError where the operator can do something about it */
export async function takeStep(connection: MigrationConnection, log: Logger, step: Step): Promise<void> {
  const { direction, migration, patience = usualPatience } = step
  const startedAt = performance.now()
  for (let tries = 1; !(await attempt(connection, step, patience, tries)); tries++) {
    if (tries === 1)
      log.info('Waiting: a transaction uses a table that the migration changes; trying again', {
        migration: migration.name,
        tries: patience.tries,
      })
    await Bun.sleep(patience.pauseMs)
  }
  log.info(direction === 'up' ? 'Migration applied' : 'Migration taken back', {
    migration: migration.name,
    ms: Math.round(performance.now() - startedAt),
  })
}

/** False where a table was in use and there are tries left. */
async function attempt(
  connection: MigrationConnection,
  { direction, migration }: Step,
  { lockMs, tries }: Patience,
  tried: number,
): Promise<boolean> {
  let committing = false
  await connection.query('begin')
  try {
    await connection.query(`set local lock_timeout = ${lockMs}`)
    for (const statement of statementsOf(migration[direction])) await connection.query(statement)
    await (direction === 'up' ? record(connection, migration) : forget(connection, migration))
    committing = true
    await connection.query('commit')
    return true
  } catch (error) {
    await connection.query('rollback').catch(() => undefined)
    const isInUse = error instanceof AppError && errorCode(error.cause) === lockNotAvailable
    if (isInUse && tried < tries) return false
    const failed = `The migration ${migration.name} (${direction}) failed`
    const undone = `${failed}; nothing of it was applied`
    if (isInUse)
      throw new OperatorError(
        `${undone}: a table that it changes was in use at each of ${tries} tries. See which transactions are old ` +
          '(select pid, xact_start, query from pg_stat_activity order by xact_start), and try again without them.',
        { cause: error },
      )
    // The database went away, or has no room: told without a stack, for the next start goes on where this one was.
    if (error instanceof AppError) {
      const isUnknown = committing && isConnectionFailure(error.cause)
      const outcome = isUnknown
        ? `${failed}, or was applied and the answer lost (migrate status tells)`
        : undone
      throw new OperatorError(`${outcome}: ${reasonOf(error)}`, { cause: error })
    }
    throw new Error(undone, { cause: error })
  }
}

const reasonOf = ({ message, cause }: AppError): string =>
  cause instanceof Error ? `${message} (${cause.message})` : message

const statementsOf = (text: string): string[] =>
  text
    .split('--> statement-breakpoint')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '')

/** SHA-256 of the up file, blind to how its lines end. */
export const migrationChecksum = ({ up }: Migration): string =>
  createHash('sha256').update(up.replaceAll('\r\n', '\n')).digest('hex')

const record = (connection: MigrationConnection, migration: Migration) =>
  connection.query('insert into schema_migrations (version, name, checksum) values ($1, $2, $3)', [
    String(migration.version),
    migration.name,
    migrationChecksum(migration),
  ])

const forget = (connection: MigrationConnection, { version }: Migration) =>
  connection.query('delete from schema_migrations where version = $1', [String(version)])
