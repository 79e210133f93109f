/**
 * Runs one migration, up or down, in a transaction of its own. A statement that waits for a table's lock blocks everyone
 * who comes after it. So an attempt waits only briefly, releases all it holds, and is repeated: a release that still
 * serves is held up for that moment, however long an export or a dump keeps the table. The same goes for an attempt that
 * PostgreSQL ends because of such a release, to resolve a deadlock or for serialisation.
 */

import { createHash } from 'node:crypto'
import pRetry from 'p-retry'
import { AppError, OperatorError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { MigrationConnection } from '../database.ts'
import { errorCode, isConnectionFailure } from '../errors.ts'
import type { Migration } from './migrations.ts'
import { nameRole } from './shared-role.ts'

/** A statement waited for longer than lock_timeout. */
export const lockNotAvailable = '55P03'
const deadlockDetected = '40P01'
const serializationFailure = '40001'
const repeatable: ReadonlySet<string> = new Set([lockNotAvailable, deadlockDetected, serializationFailure])

export interface LockRetries {
  /** How long a statement waits for a table, and everyone who comes after it as well. */
  readonly lockTimeoutMs: number
  readonly pauseMs: number
  readonly tries: number
}

/** Ten minutes in all. */
const defaultLockRetries: LockRetries = { lockTimeoutMs: 3000, pauseMs: 7000, tries: 60 }

export interface Step {
  readonly direction: 'up' | 'down'
  readonly migration: Migration
  /** What old migrations grant rights to (shared-role.ts). */
  readonly role: string
  readonly lockRetries?: LockRetries | undefined
}

class TableInUse extends OperatorError {}

/** @throws OperatorError when the operator can do something about it */
export async function runMigration(connection: MigrationConnection, log: Logger, step: Step): Promise<void> {
  const { direction, migration, lockRetries = defaultLockRetries } = step
  const startedAt = performance.now()
  await pRetry(() => attempt(connection, step, lockRetries), {
    retries: lockRetries.tries - 1,
    minTimeout: lockRetries.pauseMs,
    factor: 1,
    shouldRetry: ({ error }) => error instanceof TableInUse,
    onFailedAttempt: ({ error, attemptNumber, retriesLeft }) => {
      if (attemptNumber === 1 && retriesLeft > 0 && error instanceof TableInUse)
        log.info('Waiting: a transaction is using a table that the migration changes', {
          migration: migration.name,
          tries: lockRetries.tries,
        })
    },
  })
  log.info(direction === 'up' ? 'Migration applied' : 'Migration reverted', {
    migration: migration.name,
    ms: Math.round(performance.now() - startedAt),
  })
}

async function attempt(
  connection: MigrationConnection,
  { direction, migration, role }: Step,
  { lockTimeoutMs, tries }: LockRetries,
): Promise<void> {
  let committing = false
  await connection.query('begin')
  try {
    await connection.query(`set local lock_timeout = ${lockTimeoutMs}`)
    const text = nameRole(migration[direction], migration.version, role)
    for (const statement of statementsOf(text)) await connection.query(statement)
    await (direction === 'up' ? record(connection, migration) : forget(connection, migration))
    committing = true
    await connection.query('commit')
  } catch (error) {
    await connection.query('rollback').catch(() => undefined)
    const failed = `The migration ${migration.name} (${direction}) failed`
    throw explain(error, failed, tries, committing)
  }
}

function explain(error: unknown, failed: string, tries: number, committing: boolean): Error {
  const undone = `${failed}; nothing of it was applied`
  if (!(error instanceof AppError)) return new Error(undone, { cause: error })
  if (repeatable.has(errorCode(error.cause)))
    return new TableInUse(
      `${undone}: a table that it changes was in use at each of ${tries} tries. Find the old transactions ` +
        '(select pid, xact_start, query from pg_stat_activity order by xact_start), end them, and try again.',
      { cause: error },
    )
  // The database is gone or has no room. No bug, so no stack: the next start continues where this one stopped.
  const isUnknown = committing && isConnectionFailure(error.cause)
  const outcome = isUnknown
    ? `${failed}, or was applied and the confirmation lost (see minimart migrate status)`
    : undone
  return new OperatorError(`${outcome}: ${reasonOf(error)}`, { cause: error })
}

const reasonOf = ({ message, cause }: AppError): string =>
  cause instanceof Error ? `${message} (${cause.message})` : message

const statementsOf = (text: string): string[] =>
  text
    .split('--> statement-breakpoint')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '')

/** SHA-256 of the up file, the same whatever its line endings. */
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
