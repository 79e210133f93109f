/**
 * Events that are older than missed ones are replayed. Of each list a prefix goes, so that what is left has no holes
 * and a reader can tell by its first number that something is gone (410 `events_expired`, `resync_required`).
 *
 * A list's last expired event stays: for a list that changes while somebody pages through the lists, it tells where
 * that list stood when the first page was read (lists/reading.ts). So each round walks past one row a list.
 */
import { sql } from 'drizzle-orm'
import { type Bounds, type Clearing, daysBefore } from './expired-rows.ts'

interface Walked {
  removed: number
  seen: number
  at: string
  tenant_id: string
  list_id: string
  seq: string
}

export function expiredEvents({ now, batchSize }: Bounds, retentionDays: number): Clearing {
  const expired = daysBefore(now, retentionDays)
  let last: Walked | undefined
  return {
    what: 'events',
    next: async (query) => {
      const [walked] = await query(
        sql<Walked>`
          with old as (
            select tenant_id, list_id, seq, at from list_events
            where at < ${expired} and at >= coalesce(${last?.at ?? null}::timestamptz, '-infinity')
              and (${last === undefined}::boolean or (at, tenant_id, list_id, seq)
                > (${last?.at ?? null}::timestamptz, ${last?.tenant_id ?? null}::uuid,
                  ${last?.list_id ?? null}::uuid, ${last?.seq ?? null}::bigint))
            order by at, tenant_id, list_id, seq limit ${batchSize}::int
          ), gone as (
            delete from list_events e using old o
            where e.tenant_id = o.tenant_id and e.list_id = o.list_id and e.seq = o.seq and exists (
              select from list_events n
              where n.tenant_id = o.tenant_id and n.list_id = o.list_id and n.seq = o.seq + 1 and n.at < ${expired}
            )
            returning 1
          )
          select (select count(*)::int from gone) as removed, (select count(*)::int from old) as seen,
            at::text as at, tenant_id, list_id, seq::text as seq
          from old order by at desc, tenant_id desc, list_id desc, seq desc limit 1`,
      )
      last = walked
      return { removed: walked?.removed ?? 0, isLast: (walked?.seen ?? 0) < batchSize }
    },
  }
}
