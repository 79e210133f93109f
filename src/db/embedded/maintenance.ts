/**
 * Vacuums and analyses the embedded database: PGlite has no autovacuum, so the space of deleted and outdated rows would
 * never be used again, rows never be frozen, and plans be made for tables as small as they once were.
 *
 * A statement cannot be interrupted, so all calls wait for it: for some 15 ms with ten thousand events, and on two busy
 * cores, of a million events (0.7 GB): 0.2 to 1.2 s to vacuum after 100,000 to 450,000 were deleted, 0.6 s to analyse, and
 * 3 s for a first vacuum, such as after an upgrade from a release that made none.
 */
import type { Logger } from '../../log.ts'
import type { MigrationConnection } from '../database.ts'
import { durability } from './pglite.ts'

/** PostgreSQL's own default, autovacuum_naptime: a table that fills up should not long be planned for as an empty one. */
const defaultIntervalMs = 60_000

/** Maintains the database every `intervalMs`, if something was written meanwhile. @returns a function that stops it */
export function startMaintenance(
  { maintain }: { maintain(proceed: () => Promise<boolean>): Promise<unknown> },
  log: Logger,
  intervalMs = defaultIntervalMs,
): () => void {
  let syncsAtLast = durability.syncs
  let isStopped = false
  const maintainIfWritten = async (): Promise<void> => {
    if (durability.syncs === syncsAtLast) return
    syncsAtLast = durability.syncs
    try {
      await maintain(async () => !isStopped)
    } catch (error) {
      if (!isStopped)
        log.warn('the embedded database failed to vacuum; trying again at the next interval', { error })
    }
  }
  const timer = setInterval(() => void maintainIfWritten(), intervalMs)
  timer.unref()
  return () => {
    isStopped = true
    clearInterval(timer)
  }
}

/**
 * The statements that are due, each of one table and to be run outside a transaction, alone on the session. Decided as
 * autovacuum does with its default settings, from the counts of changes that PostgreSQL keeps. PGlite loses those when it
 * closes, so after a start tables of more than a megabyte are due as well.
 */
export async function maintenanceDue(owner: MigrationConnection): Promise<string[]> {
  // Counts of the last second are otherwise missing. They are added once this statement has ended.
  await owner.query('select pg_stat_force_next_flush()')
  const due = await owner.query(selectDue)
  return due.map(({ statement }) => String(statement))
}

const selectDue = `
  with counted as (
    select format('%I.%I', s.schemaname, s.relname) as name, greatest(c.reltuples, 0) as rows, c.relfrozenxid, s.*
    from pg_stat_all_tables s join pg_class c on c.oid = s.relid
    where s.schemaname <> 'pg_toast'
  )
  select 'vacuum ' || name as statement from counted
  where n_dead_tup > 50 + 0.2 * rows or n_ins_since_vacuum > 1000 + 0.2 * rows
    or (last_vacuum is null and pg_relation_size(relid) > 1048576)
    or age(relfrozenxid) > current_setting('autovacuum_freeze_max_age')::int
  union all
  select 'analyze ' || name from counted where n_mod_since_analyze > 50 + 0.1 * rows`
