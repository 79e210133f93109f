/** Lists, members, items and events on the wire. Each function takes the alias of a row in the statement around it. */
import { type SQL, sql } from 'drizzle-orm'
import { items, listEvents, listMembers, shoppingLists, users } from '../../db/schema.ts'
import { rowJson, wireColumns } from '../../db/wire-json.ts'

export const listColumns = [
  'id',
  'name',
  'description',
  'ownerId',
  'seq',
  'version',
  'createdAt',
  'updatedAt',
  'deletedAt',
] as const satisfies readonly (keyof typeof shoppingLists.$inferSelect)[]

/** @param more further columns, as in a select list */
export const listJson = (l: string, more?: SQL): SQL => {
  const columns = wireColumns(shoppingLists, l, ...listColumns)
  return rowJson(more ? sql`${columns}, ${more}` : columns)
}

/** What a summary adds to a list. @param newcomers members made by the statement itself, which it cannot count yet */
export const summaryFields = (l: string, role: SQL, newcomers = 0): SQL =>
  sql`${role} as role, ${sql.raw(`${l}.item_count, ${l}.pending_count, ${newcomers} + (select count(*) from list_members c
    where c.tenant_id = ${l}.tenant_id and c.list_id = ${l}.id) as member_count`)}`

/** @param m a membership @param u its user */
export const memberJson = (m: string, u: string): SQL =>
  rowJson(sql`${wireColumns(listMembers, m, 'userId')}, ${wireColumns(users, u, 'fullName', 'email')},
    ${wireColumns(listMembers, m, 'role', 'joinedAt')}`)

export const itemColumns = [
  'id',
  'listId',
  'name',
  'quantity',
  'unit',
  'note',
  'category',
  'status',
  'position',
  'addedBy',
  'updatedBy',
  'purchasedBy',
  'purchasedAt',
  'version',
  'createdAt',
  'updatedAt',
] as const satisfies readonly (keyof typeof items.$inferSelect)[]

export const itemJson = (i: string): SQL => rowJson(wireColumns(items, i, ...itemColumns))

/** An event's mark (lib/history-position.ts). */
export const eventMark = (e: string): SQL =>
  sql.raw(`event_mark(${e}.action_id, ${e}.list_id, ${e}.seq, ${e}.at)`)

/**
 * The mark of a list's last event. It is on the list's row, unless a release that does not know it has written since;
 * then it is the event's, and where that is no longer kept, what the event's would be without an action id.
 */
export const lastMark = (l: string): SQL =>
  sql.raw(`case when ${l}.seq = 0 then '' when ${l}.mark_seq = ${l}.seq then ${l}.mark else coalesce(
    (select event_mark(e.action_id, e.list_id, e.seq, e.at) from list_events e
      where e.tenant_id = ${l}.tenant_id and e.list_id = ${l}.id and e.seq = ${l}.seq),
    event_mark(null, ${l}.id, ${l}.seq, ${l}.updated_at)) end`)

/** The position of a list's last event. */
export const listPosition = (l: string): SQL =>
  sql`case when ${sql.raw(l)}.seq = 0 then '0' else concat(${sql.raw(l)}.seq, '.', ${lastMark(l)}) end`

/** The mark of a list's event of this number; null where it is not kept, or beyond the end. */
export const markAt = (l: string, seq: number): SQL =>
  sql`case ${seq}::bigint when 0 then '' when ${sql.raw(l)}.seq then ${lastMark(l)} else
    (select ${eventMark('e')} from list_events e where e.tenant_id = ${sql.raw(l)}.tenant_id
      and e.list_id = ${sql.raw(l)}.id and e.seq = ${seq}::bigint) end`

export const eventJson = (e: string): SQL =>
  rowJson(sql`${wireColumns(listEvents, e, 'type', 'payload', 'seq')},
    concat(${sql.raw(e)}.seq, '.', ${eventMark(e)}) as position, ${wireColumns(listEvents, e, 'actionId', 'at', 'actorId')}`)
