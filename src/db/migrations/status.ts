/** Compares the database's migrations with this program's, for operators and the readiness probe. */

import { sql } from 'drizzle-orm'
import { OperatorError } from '../../errors.ts'
import type { Database, MigrationConnection } from '../database.ts'
import { StatementError } from '../errors.ts'
import { migrationChecksum } from './apply.ts'
import { type AppliedMigration, ensureKnown, mayNotCreateTables, readApplied } from './migrate.ts'
import { migrations as allMigrations, type Migration } from './migrations.ts'

export interface MigrationStatus {
  readonly version: number
  readonly name: string
  /** RFC 3339; null while pending. */
  readonly appliedAt: string | null
  /** `unknown`: from another release; `changed`: applied from a file that differs from this program's. */
  readonly state: 'applied' | 'pending' | 'unknown' | 'changed'
}

/** This program's migrations. @throws OperatorError when the database has others */
export async function migrationStatus(
  connection: MigrationConnection,
  migrations: readonly Migration[] = allMigrations,
): Promise<MigrationStatus[]> {
  const applied = await readApplied(connection)
  ensureKnown(applied, migrations)
  return compareMigrations(applied, migrations)
}

/** This program's migrations and the database's. */
export function compareMigrations(
  applied: readonly AppliedMigration[],
  migrations: readonly Migration[] = allMigrations,
): MigrationStatus[] {
  const found = applied.map(({ version, name, checksum, appliedAt }) => {
    const known = migrations.find((migration) => migration.version === version && migration.name === name)
    const isSame = known !== undefined && migrationChecksum(known) === checksum
    return { version, name, appliedAt, state: isSame ? 'applied' : known ? 'changed' : 'unknown' } as const
  })
  const pending = migrations
    .filter(({ name }) => !applied.some((one) => one.name === name))
    .map(({ version, name }) => ({ version, name, appliedAt: null, state: 'pending' }) as const)
  return [...found, ...pending].toSorted((one, other) => one.version - other.version)
}

/** @throws OperatorError when this connection's user could not apply migrations */
export async function ensureMayMigrate(connection: MigrationConnection): Promise<void> {
  const [row] = await connection.query(selectRights)
  if (row?.['may_create'] !== true) throw mayNotCreateTables()
  if (row['owns_all'] !== true)
    throw new OperatorError(
      'The user of DATABASE_URL may not change the tables of this database: they belong to another user. ' +
        'Run minimart migrate up as their owner, or transfer them: REASSIGN OWNED BY … TO …',
    )
}

const selectRights = `select has_schema_privilege(current_schema(), 'CREATE') as may_create,
  not exists (select from pg_class where relnamespace = current_schema()::regnamespace and relkind = 'r'
    and relname in ('tenants', 'schema_migrations') and not pg_has_role(relowner, 'USAGE')) as owns_all`

export type MigrationState =
  | { readonly state: 'current' }
  | { readonly state: 'pending'; readonly pending: readonly string[] }
  /** Migrated by a newer release while this one runs. Migrations only add, so this one can go on. */
  | { readonly state: 'newer' }
  /** Migrated from other files; `reason` is for the operator. */
  | { readonly state: 'foreign'; readonly reason: string }

/** Reads through the running service's database. @throws AppError `database_unavailable` */
export async function migrationState(
  db: Pick<Database, 'readUrgent'>,
  migrations: readonly Migration[] = allMigrations,
): Promise<MigrationState> {
  const applied = await findApplied(db)
  try {
    ensureKnown(applied.slice(0, migrations.length), migrations)
  } catch (error) {
    if (error instanceof OperatorError) return { state: 'foreign', reason: error.message }
    throw error
  }
  if (applied.length > migrations.length) return { state: 'newer' }
  const pending = migrations.slice(applied.length).map(({ name }) => name)
  return pending.length === 0 ? { state: 'current' } : { state: 'pending', pending }
}

type KnownBy = Pick<AppliedMigration, 'version' | 'name' | 'checksum'>

const undefinedTable = '42P01'

async function findApplied(db: Pick<Database, 'readUrgent'>): Promise<KnownBy[]> {
  try {
    return await db.readUrgent('system', selectKnown)
  } catch (error) {
    if (error instanceof StatementError && error.sqlState === undefinedTable) return []
    throw error
  }
}

const selectKnown = sql<KnownBy>`select version, name, checksum from schema_migrations order by version`
