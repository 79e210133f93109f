/** Brings the embedded database to a point at which its files, as they are, hold all of it. */
import type { MigrationConnection } from '../database.ts'
import { type AppliedMigration, readApplied } from '../migrations/migrate.ts'

/** What is known of the database once its checkpoint has been made. */
export interface Checkpoint {
  /** RFC 3339 */
  readonly at: string
  /** PostgreSQL's version, such as `18.6`. */
  readonly postgres: string
  readonly migrations: readonly Omit<AppliedMigration, 'appliedAt'>[]
  /** The files of pg_wal that recovery needs; the others are recycled ones that wait to be overwritten. */
  readonly wal: { readonly first: string; readonly last: string }
  /** How long it took. */
  readonly checkpointMs: number
}

/**
 * The files do not change until the next statement runs. Without a checkpoint they would be as complete, but opening a
 * copy of them would replay everything since the last one.
 */
export async function makeCheckpoint(connection: MigrationConnection): Promise<Checkpoint> {
  const startedAt = performance.now()
  await connection.query('begin')
  try {
    // The application's role has no right to it; `local` ends with the transaction, however that ends.
    await connection.query('set local role none')
    await connection.query('checkpoint')
    const checkpointMs = Math.round(performance.now() - startedAt)
    const [found] = await connection.query(selectState)
    const applied = await readApplied(connection)
    return {
      at: new Date().toISOString(),
      postgres: String(found?.['postgres']),
      migrations: applied.map(({ version, name, checksum }) => ({ version, name, checksum })),
      wal: { first: String(found?.['first']), last: String(found?.['last']) },
      checkpointMs,
    }
  } finally {
    await connection.query('rollback')
  }
}

const selectState = `select current_setting('server_version') as postgres, redo_wal_file as first,
  pg_walfile_name(pg_current_wal_insert_lsn()) as last from pg_control_checkpoint()`
