/**
 * Applies and reverts migrations, in the same way on both databases: in order, each in a transaction of its own, as the
 * user who signed in, by one process at a time (a session-level advisory lock; others wait), and only on a database
 * whose applied migrations have the checksums of this program's.
 */

import { AppError, OperatorError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { MigrationConnection } from '../database.ts'
import { errorCode, StatementError } from '../errors.ts'
import { type LockRetries, lockNotAvailable, migrationChecksum, runMigration } from './apply.ts'
import { migrations as allMigrations, type Migration } from './migrations.ts'
import { applicationRole, closeToOthers, insufficientPrivilege, isEmptyDatabase, settleRole } from './role.ts'
import { roleInOldMigrations } from './shared-role.ts'

export interface MigrateOptions {
  log: Logger
  /** Default: the program's own. */
  migrations?: readonly Migration[]
  /** For a table that is in use; ten minutes by default. */
  lockRetries?: LockRetries
  /** How long to wait while another process migrates; 20 by default. */
  queueTimeoutMinutes?: number
}

export interface AppliedMigration {
  readonly version: number
  readonly name: string
  readonly checksum: string
  /** RFC 3339 */
  readonly appliedAt: string
}

/** Applies what is pending. @returns the names of what it applied @throws OperatorError, see `ensureKnown` */
export function migrateUp(connection: MigrationConnection, options: MigrateOptions): Promise<string[]> {
  const { log, migrations = allMigrations, lockRetries } = options
  return withMigrationLock(connection, options, async () => {
    const applied = await readApplied(connection)
    ensureKnown(applied, migrations)
    const pending = migrations.slice(applied.length)
    const isNew = applied.length === 0 && (await isEmptyDatabase(connection))
    const role = await roleInOldMigrations(connection, await applicationRole(connection))
    for (const migration of pending)
      await runMigration(connection, log, { direction: 'up', migration, role, lockRetries })
    await settleRole(connection)
    if (isNew) await closeToOthers(connection, log)
    return pending.map(({ name }) => name)
  })
}

/** Reverts the last `count`. @returns their names, last first @throws OperatorError, see `ensureKnown` */
export function migrateDown(
  connection: MigrationConnection,
  options: MigrateOptions,
  count = 1,
): Promise<string[]> {
  const { log, migrations = allMigrations, lockRetries } = options
  return withMigrationLock(connection, options, async () => {
    const applied = await readApplied(connection)
    ensureKnown(applied, migrations)
    const reverted = migrations.slice(Math.max(0, applied.length - count), applied.length).toReversed()
    const own = await applicationRole(connection)
    for (const migration of reverted) {
      const role = await roleInOldMigrations(connection, own)
      await runMigration(connection, log, { direction: 'down', migration, role, lockRetries })
    }
    return reverted.map(({ name }) => name)
  })
}

/** @throws OperatorError naming the first applied migration that is not this program's */
export function ensureKnown(
  applied: readonly Omit<AppliedMigration, 'appliedAt'>[],
  migrations: readonly Migration[],
): void {
  for (const [index, { version, name, checksum }] of applied.entries()) {
    const known = migrations[index]
    if (known === undefined)
      throw new OperatorError(
        `The database is newer than this program: it has the migration ${name}. Start the release that ` +
          'applied it, or revert it with that release.',
      )
    if (known.version !== version || known.name !== name)
      throw new OperatorError(
        `The database has the migration ${name} where this program has ${known.name}. They do not belong together: check ` +
          'DATABASE_URL or DATA_DIR.',
      )
    if (migrationChecksum(known) !== checksum)
      throw new OperatorError(
        `The migration ${name} was changed after it was applied to this database. ` +
          'Restore the file, and put the change into a new migration.',
      )
  }
}

/** Empty for a database that was never migrated. */
export async function readApplied(connection: MigrationConnection): Promise<AppliedMigration[]> {
  const [found] = await connection.query(`select to_regclass('schema_migrations') is not null as "exists"`)
  if (found?.['exists'] !== true) return []
  const rows = await connection.query(selectApplied)
  return rows.map(({ version, name, checksum, applied_at }) => ({
    version: Number(version),
    name: String(name),
    checksum: String(checksum),
    appliedAt: String(applied_at),
  }))
}

const selectApplied = `select version, name, checksum,
  to_char(applied_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as applied_at
  from schema_migrations order by version`

/** "minimart" in ASCII. Advisory locks belong to one database, so others on the server do not wait. */
const lockKey = '7883954021774488180'

async function withMigrationLock<T>(
  connection: MigrationConnection,
  { log, queueTimeoutMinutes = 20 }: MigrateOptions,
  work: () => Promise<T>,
): Promise<T> {
  const [tried] = await connection.query('select pg_try_advisory_lock($1::bigint) as taken', [lockKey])
  if (tried?.['taken'] !== true) {
    log.info('Waiting: another instance is migrating the database')
    await connection.query(`set lock_timeout = ${Math.round(queueTimeoutMinutes * 60_000)}`)
    await connection
      .query('select pg_advisory_lock($1::bigint)', [lockKey])
      .catch(explainQueue(queueTimeoutMinutes))
    await connection.query('reset lock_timeout')
  }
  try {
    await connection.query(createTable).catch(explainMissingPrivilege)
    return await work()
  } finally {
    // A lost connection has released its lock, and the error to report is the one that broke it.
    await connection.query('select pg_advisory_unlock($1::bigint)', [lockKey]).catch(() => undefined)
  }
}

const explainQueue =
  (minutes: number) =>
  (error: unknown): never => {
    if (!(error instanceof AppError) || errorCode(error.cause) !== lockNotAvailable) throw error
    throw new OperatorError(
      `Another process has been migrating the database for ${minutes} minutes. See what it waits for ` +
        "(application_name 'minimart migrations' in pg_stat_activity), and start again once it is done.",
      { cause: error },
    )
  }

const createTable = `create table if not exists schema_migrations (
  version integer primary key, name text not null, checksum text not null,
  applied_at timestamptz(3) not null default clock_timestamp())`

function explainMissingPrivilege(error: unknown): never {
  throw error instanceof StatementError && error.sqlState === insufficientPrivilege
    ? mayNotCreateTables()
    : error
}

export const mayNotCreateTables = (): OperatorError =>
  new OperatorError(
    'The user of DATABASE_URL may not create tables in this database. Make it the owner of the database: ' +
      'ALTER DATABASE … OWNER TO …',
  )
