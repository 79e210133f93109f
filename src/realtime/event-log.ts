import { sql } from 'drizzle-orm'
import type { Actor } from '../access/actor.ts'
import type { Database } from '../db/database.ts'
import { chain, type ListEvent, type ListKey } from '../features/list-changes/events.ts'
import { visible } from '../features/list-changes/visible-lists.ts'
import { eventJson, eventMark, lastMark, markAt } from '../features/list-changes/wire.ts'
import { type HistoryPosition, heldIn, type Since } from '../lib/history-position.ts'
import { topicOf } from './broker.ts'

/** Of events, and what counts as one call more. */
export const pageSize = 500

export interface EventPage {
  /** In order, without holes, from the one after the cursor; fewer than a page only at the end of the list. */
  events: ListEvent[]
  /** The list's last event when this was read. */
  head: HistoryPosition
  /**
   * `expired`: some events after the cursor, or the one at it by which its mark is checked, are no longer kept.
   * `changed`: the history does not hold the cursor. There are no events then.
   */
  state: 'continues' | 'expired' | 'changed'
}

/** The position of a list's last event; null when the actor cannot see it. @throws AppError database_unavailable */
export async function findHead(db: Database, actor: Actor, listId: string): Promise<HistoryPosition | null> {
  const [row] = await db.read(
    actor,
    sql<{ seq: number; mark: string }>`select l.seq, ${lastMark('l')} as mark from shopping_lists l
      left join list_members m on m.tenant_id = l.tenant_id and m.list_id = l.id and m.user_id = ${actor.userId}
      where l.tenant_id = ${actor.tenantId} and l.id = ${listId} and ${visible(actor)}`,
  )
  return row ? { seq: Number(row.seq), mark: row.mark } : null
}

/**
 * A page of events after `cursor`, without a check of permissions: callers have made their own.
 * @throws AppError database_unavailable
 */
export async function readEvents(
  db: Database,
  { tenantId, listId }: ListKey,
  cursor: Since,
): Promise<EventPage> {
  const rows = await db.read(
    { tenantId },
    sql<EventRow>`
      select l.seq as head, ${lastMark('l')} as "headMark", ${markAt('l', cursor.seq)} as "cursorMark",
        e.seq, ${eventMark('e')} as mark, e.type, e.payload ->> 'user_id' as "userId", ${eventJson('e')}::text as text
      from shopping_lists l
      left join lateral (
        select * from list_events v
        where v.tenant_id = l.tenant_id and v.list_id = l.id and v.seq > ${cursor.seq}::bigint
        order by v.seq limit ${pageSize}::int
      ) e on true
      where l.tenant_id = ${tenantId} and l.id = ${listId}
      order by e.seq`,
  )
  const { head: seq = 0, headMark = '', cursorMark = null } = rows[0] ?? {}
  const head = { seq: Number(seq), mark: headMark }
  const held = heldIn(head.seq, cursorMark, cursor)
  if (held !== 'held' || cursor.seq > head.seq)
    return { events: [], head, state: held === 'unknown' ? 'expired' : 'changed' }
  const events = chain(cursor.mark ?? cursorMark ?? '', rows.flatMap(eventOf))
  const expired = head.seq > cursor.seq && events[0]?.seq !== cursor.seq + 1
  return { events, head, state: expired ? 'expired' : 'continues' }
}

/** The columns of an event are null where there is none. */
interface EventRow {
  head: number
  headMark: string
  cursorMark: string | null
  seq: number | null
  mark: string
  type: string | null
  userId: string | null
  text: string | null
}

const eventOf = ({ seq, mark, type, userId, text }: EventRow): Omit<ListEvent, 'previous'>[] =>
  seq === null || type === null || text === null ? [] : [{ seq: Number(seq), mark, type, userId, text }]

/**
 * The position of the last event of each list by its topic, in one query over all tenants. Lists that no longer exist
 * are absent.
 * @throws AppError database_unavailable
 */
export async function readHeads(
  db: Database,
  lists: readonly ListKey[],
): Promise<Map<string, HistoryPosition>> {
  const rows = await db.read(
    'streams',
    sql<{ id: string; tenantId: string; seq: number; mark: string }>`
      select l.id, l.tenant_id as "tenantId", l.seq, ${lastMark('l')} as mark
      from jsonb_to_recordset(${JSON.stringify(lists)}::jsonb) as w ("tenantId" uuid, "listId" uuid)
      join shopping_lists l on l.tenant_id = w."tenantId" and l.id = w."listId"`,
  )
  return new Map(
    rows.map(({ id, tenantId, seq, mark }) => [
      topicOf({ tenantId, listId: id }),
      { seq: Number(seq), mark },
    ]),
  )
}
