/**
 * Deletes events that are too old to be replayed. It removes a prefix of each list's events, so that the rest has no
 * gaps and a reader can tell by the first number that something is missing (410 `events_expired`, `resync_required`).
 *
 * A list's last expired event stays: paging through lists that change meanwhile depends on it (lists/reading.ts). So
 * each round walks past one row per list.
 *
 * They no longer count as kept. Those that are not counted yet, after an upgrade or an import, stay until they are.
 *
 * Rows are found by their place, and the next event's time is compared outside its look-up, so that PostgreSQL has one
 * plan to choose: taking the table for almost empty, it read all of it for each row of a batch. An event's place does not
 * change: nothing updates events, and nothing else deletes them.
 */
import { sql } from 'drizzle-orm'
import { type Bounds, type CleanupTask, daysBefore } from './expired-rows.ts'
import { eventBytes } from './kept-bytes.ts'

interface Position {
  removed: number
  seen: number
  at: string
  tenant_id: string
  list_id: string
  seq: string
}

export function expiredEvents({ now, batchSize }: Bounds, retentionDays: number): CleanupTask {
  const expired = daysBefore(now, retentionDays)
  let last: Position | undefined
  return {
    what: 'events',
    next: async (query) => {
      const [position] = await query(
        sql<Position>`
          with old as (
            select ctid as place, tenant_id, list_id, seq, at from list_events
            where at < ${expired} and at >= coalesce(${last?.at ?? null}::timestamptz, '-infinity')
              and (${last === undefined}::boolean or (at, tenant_id, list_id, seq)
                > (${last?.at ?? null}::timestamptz, ${last?.tenant_id ?? null}::uuid,
                  ${last?.list_id ?? null}::uuid, ${last?.seq ?? null}::bigint))
            order by at, tenant_id, list_id, seq limit ${batchSize}::int
          ), gone as (
            delete from list_events e where e.ctid = any (array(
              select o.place from old o where (
                select n.at from list_events n
                where n.tenant_id = o.tenant_id and n.list_id = o.list_id and n.seq = o.seq + 1
              ) < ${expired} and o.seq <= (
                select l.counted_seq from shopping_lists l where l.tenant_id = o.tenant_id and l.id = o.list_id
              )
            ))
            returning e.tenant_id, e.list_id, ${eventBytes('e')} as bytes
          ), freed as (
            update shopping_lists l set event_bytes = l.event_bytes - g.bytes
            from (select tenant_id, list_id, sum(bytes) as bytes from gone group by tenant_id, list_id) g
            where l.tenant_id = g.tenant_id and l.id = g.list_id
          )
          select (select count(*)::int from gone) as removed, (select count(*)::int from old) as seen,
            at::text as at, tenant_id, list_id, seq::text as seq
          from old order by at desc, tenant_id desc, list_id desc, seq desc limit 1`,
      )
      last = position
      return { removed: position?.removed ?? 0, isLast: (position?.seen ?? 0) < batchSize }
    },
  }
}
