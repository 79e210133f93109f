import { sql } from 'drizzle-orm'
import type { Actor } from '../access/actor.ts'
import type { Database } from '../db/database.ts'
import type { ListEvent, ListKey } from '../features/list-changes/events.ts'
import { visible } from '../features/list-changes/visible-lists.ts'
import { eventJson } from '../features/list-changes/wire.ts'
import { topicOf } from './broker.ts'

const pageSize = 500

export interface EventPage {
  /** In order, without holes, from the one after the cursor; fewer than a page only at the end of the list. */
  events: ListEvent[]
  /** The list's last seq when this was read. */
  seq: number
  /** Some events after the cursor are no longer kept. */
  expired: boolean
}

/** The last seq of a list; null when the actor cannot see it. @throws AppError database_unavailable */
export async function findSeq(db: Database, actor: Actor, listId: string): Promise<number | null> {
  const [row] = await db.read(
    actor,
    sql<{ seq: number }>`select l.seq from shopping_lists l
      left join list_members m on m.tenant_id = l.tenant_id and m.list_id = l.id and m.user_id = ${actor.userId}
      where l.tenant_id = ${actor.tenantId} and l.id = ${listId} and ${visible(actor)}`,
  )
  return row ? Number(row.seq) : null
}

/**
 * A page of events after `cursor`, without a check of permissions: callers have made their own.
 * @throws AppError database_unavailable
 */
export async function readEvents(
  db: Database,
  { tenantId, listId }: ListKey,
  cursor: number,
): Promise<EventPage> {
  const rows = await db.read(
    { tenantId },
    sql<{
      head: number
      seq: number | null
      type: string | null
      userId: string | null
      text: string | null
    }>`
      select l.seq as head, e.seq, e.type, e.payload ->> 'user_id' as "userId", ${eventJson('e')}::text as text
      from shopping_lists l
      left join lateral (
        select * from list_events v where v.tenant_id = l.tenant_id and v.list_id = l.id and v.seq > ${cursor}::bigint
        order by v.seq limit ${pageSize}::int
      ) e on true
      where l.tenant_id = ${tenantId} and l.id = ${listId}
      order by e.seq`,
  )
  const seq = Number(rows[0]?.head ?? 0)
  const events = rows.flatMap(({ seq: number, type, userId, text }) =>
    number === null || type === null || text === null ? [] : [{ seq: Number(number), type, userId, text }],
  )
  return { events, seq, expired: seq > cursor && events[0]?.seq !== cursor + 1 }
}

/**
 * The last seq of each list by its topic, in one query over all tenants. Lists that no longer exist are absent.
 * @throws AppError database_unavailable
 */
export async function readHeads(db: Database, lists: readonly ListKey[]): Promise<Map<string, number>> {
  const rows = await db.read(
    'streams',
    sql<{ id: string; tenantId: string; seq: number }>`
      select l.id, l.tenant_id as "tenantId", l.seq
      from jsonb_to_recordset(${JSON.stringify(lists)}::jsonb) as w ("tenantId" uuid, "listId" uuid)
      join shopping_lists l on l.tenant_id = w."tenantId" and l.id = w."listId"`,
  )
  return new Map(rows.map(({ id, tenantId, seq }) => [topicOf({ tenantId, listId: id }), Number(seq)]))
}
