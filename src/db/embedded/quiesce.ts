/** Brings the embedded database to a point at which its files, as they lie, are the whole of it. */
import type { MigrationConnection } from '../database.ts'
import { type AppliedMigration, readApplied } from '../migrations/migrate.ts'

export interface Resting {
  /** When it was brought to rest, RFC 3339. */
  readonly at: string
  /** PostgreSQL's version, e.g. `18.6`. */
  readonly postgres: string
  readonly migrations: readonly Omit<AppliedMigration, 'appliedAt'>[]
  /** The files of pg_wal that hold what is needed; the others wait to be used anew and are worth nothing. */
  readonly wal: { readonly first: string; readonly last: string }
  /** Milliseconds that the checkpoint took. */
  readonly checkpointMs: number
}

/**
 * A checkpoint, and what there is to know afterwards. The files stay as they are until the next statement runs.
 * Without a checkpoint they would be as whole, but whoever opens them would have all that was done since the last
 * one to do again.
 */
export async function bringToRest(connection: MigrationConnection): Promise<Resting> {
  const startedAt = performance.now()
  await connection.query('begin')
  try {
    // The application's role may not; this holds until the end of the transaction, however it ends.
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
