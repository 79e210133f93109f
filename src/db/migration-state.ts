/** Whether the database and this program belong together, for operators and the readiness probe. */
import { sql } from 'drizzle-orm'
import type { Database } from './database.ts'
import { DatabaseRefused, StatementError } from './errors.ts'
import { type AppliedMigration, ensureKnown, type MigrationConnection, readApplied } from './migrate.ts'
import { migrations as allMigrations, type Migration } from './migrations.ts'

export interface MigrationStatus {
  readonly version: number
  readonly name: string
  /** Null while pending. */
  readonly appliedAt: string | null
}

/** Every migration this program knows. @throws DatabaseRefused where the database has others */
export async function migrationStatus(
  connection: MigrationConnection,
  migrations: readonly Migration[] = allMigrations,
): Promise<MigrationStatus[]> {
  const applied = await readApplied(connection)
  ensureKnown(applied, migrations)
  return migrations.map(({ version, name }, index) => ({
    version,
    name,
    appliedAt: applied[index]?.appliedAt ?? null,
  }))
}

export type MigrationState =
  | { readonly state: 'current' }
  | { readonly state: 'pending'; readonly pending: readonly string[] }
  /** Migrated by a newer release while this one runs. Migrations only add, so this one goes on with it. */
  | { readonly state: 'newer' }
  /** Made by other files; `reason` is for the operator. */
  | { readonly state: 'foreign'; readonly reason: string }

/** Asks the running service's database. @throws AppError `database_unavailable` */
export async function migrationState(
  db: Database,
  migrations: readonly Migration[] = allMigrations,
): Promise<MigrationState> {
  const applied = await findApplied(db)
  try {
    ensureKnown(applied.slice(0, migrations.length), migrations)
  } catch (error) {
    if (error instanceof DatabaseRefused) return { state: 'foreign', reason: error.message }
    throw error
  }
  if (applied.length > migrations.length) return { state: 'newer' }
  const pending = migrations.slice(applied.length).map(({ name }) => name)
  return pending.length === 0 ? { state: 'current' } : { state: 'pending', pending }
}

type KnownBy = Pick<AppliedMigration, 'version' | 'name' | 'checksum'>

const undefinedTable = '42P01'

async function findApplied(db: Database): Promise<KnownBy[]> {
  try {
    return await db.read('system', selectKnown)
  } catch (error) {
    if (error instanceof StatementError && error.sqlState === undefinedTable) return []
    throw error
  }
}

const selectKnown = sql<KnownBy>`select version, name, checksum from schema_migrations order by version`
