/**
 * Applies and takes back migrations, the same way on both databases: in order, each in a transaction of its own,
 * as the user who signed in, one process at a time (a session's advisory lock; others wait), and only onto a
 * database whose applied migrations are the very ones this program knows, told by their checksums.
 */

import { AppError, OperatorError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { MigrationConnection } from '../database.ts'
import { errorCode, StatementError } from '../errors.ts'
import { lockNotAvailable, migrationChecksum, type Patience, takeStep } from './apply.ts'
import { migrations as allMigrations, type Migration } from './migrations.ts'

export interface MigrateOptions {
  log: Logger
  /** Others than the program's own, for tests. */
  migrations?: readonly Migration[]
  /** With tables in use, and with others that migrate; left out: minutes. */
  patience?: Patience
  queueMinutes?: number
}

export interface AppliedMigration {
  readonly version: number
  readonly name: string
  readonly checksum: string
  /** RFC 3339 */
  readonly appliedAt: string
}

/** Applies what is pending; answers the names of what it applied. @throws OperatorError, see `ensureKnown` */
export function migrateUp(connection: MigrationConnection, options: MigrateOptions): Promise<string[]> {
  const { log, migrations = allMigrations, patience } = options
  return underLock(connection, options, async () => {
    const applied = await readApplied(connection)
    ensureKnown(applied, migrations)
    const pending = migrations.slice(applied.length)
    for (const migration of pending)
      await takeStep(connection, log, { direction: 'up', migration, ...(patience && { patience }) })
    await letApplicationRead(connection)
    return pending.map(({ name }) => name)
  })
}

/** Takes back the last `count`; answers their names, last first. @throws OperatorError, see `ensureKnown` */
export function migrateDown(
  connection: MigrationConnection,
  options: MigrateOptions,
  count = 1,
): Promise<string[]> {
  const { log, migrations = allMigrations, patience } = options
  return underLock(connection, options, async () => {
    const applied = await readApplied(connection)
    ensureKnown(applied, migrations)
    const taken = migrations.slice(Math.max(0, applied.length - count), applied.length).toReversed()
    for (const migration of taken)
      await takeStep(connection, log, { direction: 'down', migration, ...(patience && { patience }) })
    return taken.map(({ name }) => name)
  })
}

/** @throws OperatorError naming the first applied migration that this program has otherwise or not at all */
export function ensureKnown(
  applied: readonly Omit<AppliedMigration, 'appliedAt'>[],
  migrations: readonly Migration[],
): void {
  for (const [index, { version, name, checksum }] of applied.entries()) {
    const known = migrations[index]
    if (known === undefined)
      throw new OperatorError(
        `The database is newer than this program: it has the migration ${name}. Start the release that made it, ` +
          'or take the migration back with that release.',
      )
    if (known.version !== version || known.name !== name)
      throw new OperatorError(
        `The database has ${name} where this program has ${known.name}: they do not belong together.`,
      )
    if (migrationChecksum(known) !== checksum)
      throw new OperatorError(
        `The migration ${name} was changed after it was applied to this database. ` +
          'Restore the file and put the change into a new migration.',
      )
  }
}

/** Empty where nothing was ever migrated. */
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

/** "minimart" in ASCII; advisory locks are the database's own, so other databases of the server do not wait. */
const lockKey = '7883954021774488180'

async function underLock<T>(
  connection: MigrationConnection,
  { log, queueMinutes = 20 }: MigrateOptions,
  work: () => Promise<T>,
): Promise<T> {
  const [tried] = await connection.query('select pg_try_advisory_lock($1::bigint) as taken', [lockKey])
  if (tried?.['taken'] !== true) {
    log.info('Waiting: another instance is migrating the database')
    await connection.query(`set lock_timeout = ${Math.round(queueMinutes * 60_000)}`)
    await connection.query('select pg_advisory_lock($1::bigint)', [lockKey]).catch(explainQueue(queueMinutes))
    await connection.query('reset lock_timeout')
  }
  try {
    await connection.query(createTable).catch(explainMissingRight)
    return await work()
  } finally {
    // A connection that is lost has let go of its lock, and what broke it is the error to report.
    await connection.query('select pg_advisory_unlock($1::bigint)', [lockKey]).catch(() => undefined)
  }
}

const explainQueue =
  (queueMinutes: number) =>
  (error: unknown): never => {
    if (!(error instanceof AppError) || errorCode(error.cause) !== lockNotAvailable) throw error
    throw new OperatorError(
      `Another process has been migrating the database for ${queueMinutes} minutes. See what holds it up (application_name ` +
        "'minimart migrations' in pg_stat_activity), and start again once it is done.",
      { cause: error },
    )
  }

const createTable = `create table if not exists schema_migrations (
  version integer primary key, name text not null, checksum text not null,
  applied_at timestamptz(3) not null default clock_timestamp())`

const insufficientPrivilege = '42501'

function explainMissingRight(error: unknown): never {
  if (!(error instanceof StatementError) || error.sqlState !== insufficientPrivilege) throw error
  throw mayNotCreateTables()
}

export const mayNotCreateTables = (): OperatorError =>
  new OperatorError(
    'The user of DATABASE_URL may not create tables in this database. Make it the owner of the database: ' +
      'ALTER DATABASE … OWNER TO …',
  )

/** The running service compares the table with its own migrations. The role may be there only after 0001. */
async function letApplicationRead(connection: MigrationConnection): Promise<void> {
  await connection.query(`do $$ begin
    if exists (select from pg_roles where rolname = 'minimart_app')
      and not has_table_privilege('minimart_app', 'schema_migrations', 'SELECT') then
      grant select on schema_migrations to minimart_app;
    end if;
  end $$`)
}
