/** Reads lists: summaries, one in full, its members, its events. Each is one statement. */
import { type SQL, sql } from 'drizzle-orm'
import type { Actor } from '../../access/actor.ts'
import type { Database } from '../../db/database.ts'
import { AppError, notFound } from '../../errors.ts'
import { type Cursors, openPage, type PageRow } from '../../lib/cursor.ts'
import { heldIn, historyStart, readSince } from '../../lib/history-position.ts'
import type { KnownPositions } from '../list-changes/precondition.ts'
import { visible } from '../list-changes/visible-lists.ts'
import {
  eventJson,
  itemJson,
  listJson,
  listPosition,
  markAt,
  memberJson,
  summaryFields,
} from '../list-changes/wire.ts'
import type { EventsQuery, ListsQuery, PageQuery } from './model.ts'

/** The reader's role on the list `l`, over their membership `m`. */
const ownRole = sql.raw(`coalesce(m.role, 'tenant_admin')`)

const membership = (actor: Actor): SQL => sql`list_members m
  on m.tenant_id = l.tenant_id and m.list_id = l.id and m.user_id = ${actor.userId}`

/**
 * When the list `l` had last changed as of the moment at which the first page was read. A list that has changed since
 * keeps the place it had then, which its events give, so that it is neither skipped nor shown twice.
 */
const changedAsOf = (asOf: string | null): SQL => sql`
  select case when ${asOf}::timestamptz is null or l.updated_at <= ${asOf}::timestamptz then l.updated_at
    else coalesce((select max(e.at) from list_events e
      where e.tenant_id = l.tenant_id and e.list_id = l.id and e.at <= ${asOf}::timestamptz), l.created_at)
  end as changed_at`

/** A page of the actor's lists, of those they may restore, or of all for an admin; most recently changed first. */
export async function listLists(
  db: Database,
  cursors: Cursors,
  actor: Actor,
  query: ListsQuery,
): Promise<string> {
  const isAdmin = actor.role === 'tenant_admin'
  if (query.scope === 'all' && !isAdmin)
    throw new AppError('forbidden', 'Only an admin of the tenant may see all of its lists.')
  const deleted = query.deleted === 'true'
  const page = openPage(cursors, ['lists', actor.tenantId, actor.userId, query.scope, deleted], query)
  const [asOf = null, changedAt = null, id = null] = page.after
  // An admin may restore any list of the tenant.
  const source = query.scope === 'all' || (deleted && isAdmin) ? sql`left join` : sql`join`
  const only = deleted
    ? sql`l.deleted_at is not null and (m.role = 'owner' or ${isAdmin}::boolean)`
    : sql`l.deleted_at is null`
  const rows = await db.read(
    actor,
    sql<PageRow>`
      select p.body, json_build_array(
        wire_time(coalesce(${asOf}::timestamptz, max(p.changed_at) over ())), wire_time(p.changed_at), p.id)::text as key
      from (
        select ${listJson('l', summaryFields('l', ownRole))}::text as body, l.id, c.changed_at
        from shopping_lists l ${source} ${membership(actor)}, lateral (${changedAsOf(asOf)}) c
        where l.tenant_id = ${actor.tenantId} and ${only}
          and (${asOf}::timestamptz is null or (l.created_at <= ${asOf}::timestamptz
            and (c.changed_at, l.id) < (${changedAt}::timestamptz, ${id}::uuid)))
        order by c.changed_at desc, l.id desc limit ${page.fetch}::int
      ) p
      order by p.changed_at desc, p.id desc`,
  )
  return page.answer(rows)
}

/**
 * A list with its members and all its items.
 * @param known `body` is null, and not built, when the list's position is one of these
 * @throws AppError not_found
 */
export async function getList(
  db: Database,
  actor: Actor,
  listId: string,
  known: KnownPositions,
): Promise<{ body: string | null; position: string }> {
  const detail = sql`${listPosition('l')} as position, ${ownRole} as role,
    (select coalesce(json_agg(${memberJson('c', 'u')} order by c.joined_at, c.user_id), '[]')
      from list_members c join users u on u.tenant_id = c.tenant_id and u.id = c.user_id
      where c.tenant_id = l.tenant_id and c.list_id = l.id) as members,
    (select coalesce(json_agg(${itemJson('i')} order by i.position, i.id), '[]')
      from items i where i.tenant_id = l.tenant_id and i.list_id = l.id and i.deleted_at is null) as items`
  const isKnown =
    known === 'any' ? sql`true` : sql`${JSON.stringify(known)}::jsonb ? concat('seq-', ${listPosition('l')})`
  const [row] = await db.read(
    actor,
    sql<{ body: string | null; position: string }>`
      select case when not ${isKnown} then ${listJson('l', detail)} end::text as body,
        ${listPosition('l')} as position
      from shopping_lists l left join ${membership(actor)}
      where l.tenant_id = ${actor.tenantId} and l.id = ${listId} and ${visible(actor)}`,
  )
  if (!row) throw notFound('list')
  return row
}

/** A page of members in the order in which they joined. @throws AppError not_found */
export async function listMembers(
  db: Database,
  cursors: Cursors,
  actor: Actor,
  listId: string,
  query: PageQuery,
): Promise<string> {
  const page = openPage(cursors, ['members', actor.tenantId, listId], query)
  const [joinedAt, userId] = page.after
  const rows = await db.read(
    actor,
    sql<{ body: string | null; key: string | null }>`
      select p.body, p.key
      from shopping_lists l left join ${membership(actor)}
      left join lateral (
        select ${memberJson('c', 'u')}::text as body, json_build_array(wire_time(c.joined_at), c.user_id)::text as key,
          c.joined_at, c.user_id
        from list_members c join users u on u.tenant_id = c.tenant_id and u.id = c.user_id
        where c.tenant_id = l.tenant_id and c.list_id = l.id
          and (${joinedAt ?? null}::timestamptz is null
            or (c.joined_at, c.user_id) > (${joinedAt ?? null}::timestamptz, ${userId ?? null}::uuid))
        order by c.joined_at, c.user_id limit ${page.fetch}::int
      ) p on true
      where l.tenant_id = ${actor.tenantId} and l.id = ${listId} and ${visible(actor)}
      order by p.joined_at, p.user_id`,
  )
  if (rows.length === 0) throw notFound('list')
  return page.answer(rows.flatMap(({ body, key }) => (body === null || key === null ? [] : [{ body, key }])))
}

const defaultEventLimit = 50

/**
 * Events after `since`, oldest first; `complete` says whether they go up to the last one.
 * @throws AppError not_found; history_changed (410) when `since` is a position that the list's history does not hold;
 *   events_expired (410) when some of them, or the event that would tell, are no longer kept
 */
export async function listEvents(
  db: Database,
  actor: Actor,
  listId: string,
  query: EventsQuery,
): Promise<string> {
  const since = readSince(query.since ?? '0') ?? historyStart
  const limit = Number(query.limit ?? defaultEventLimit)
  const [row] = await db.read(
    actor,
    sql<{
      seq: string
      position: string
      markAtSince: string | null
      first: string | null
      last: string | null
      data: string
    }>`
      select l.seq::text as seq, ${listPosition('l')} as position, ${markAt('l', since.seq)} as "markAtSince",
        p.first::text as first, p.last::text as last, coalesce(p.data, '[]')::text as data
      from shopping_lists l left join ${membership(actor)}
      cross join lateral (
        select min(e.seq) as first, max(e.seq) as last, json_agg(${eventJson('e')} order by e.seq) as data
        from (
          select * from list_events e where e.tenant_id = l.tenant_id and e.list_id = l.id and e.seq > ${since.seq}::bigint
          order by e.seq limit ${limit}::int
        ) e
      ) p
      where l.tenant_id = ${actor.tenantId} and l.id = ${listId} and ${visible(actor)}`,
  )
  if (!row) throw notFound('list')
  const seq = Number(row.seq)
  const first = row.first === null ? null : Number(row.first)
  const held = heldIn(seq, row.markAtSince, since)
  if (held === 'changed')
    throw new AppError(
      'history_changed',
      'The list was restored to an earlier state since. Read the whole list instead.',
    )
  if (held === 'unknown' || (since.seq < seq && first !== since.seq + 1))
    throw new AppError('events_expired', 'Events that old are no longer kept. Read the whole list instead.')
  // A number beyond the end: their copy is not of this history.
  const complete = since.seq <= seq && Number(row.last ?? since.seq) >= seq
  return `{"data":${row.data},"seq":${seq},"position":"${row.position}","complete":${complete}}`
}
