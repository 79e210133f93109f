/**
 * Counts what each tenant keeps, in bytes of the text of its lists, items and events, for TENANT_MAX_MB. A list's items
 * are counted by every change, unless a release made it that does not count; here its events are, from where the last
 * count ended. Lists with uncounted events stand in an index of their own, so that a count costs as much as has changed
 * since the last.
 *
 * Every instance counts, one list at a time under its lock; what one has counted, the next does not find. Deleted items
 * are not counted: their text is in their events for as long as those are kept.
 */
import { type SQL, sql } from 'drizzle-orm'
import pTimeout from 'p-timeout'
import type { Database } from '../../db/database.ts'
import type { Logger } from '../../log.ts'
import type { ListKey } from '../list-changes/events.ts'
import { listTextBytes } from '../list-changes/room.ts'

export interface KeptBytesCount {
  /** One turn. @throws AppError database_unavailable, busy */
  count(): Promise<void>
  /** Takes turns from now on. */
  start(): void
  /** Starts no further batch and waits for the current one, for 3 seconds at most. */
  stop(): Promise<void>
}

/** A tenant is full within a minute of the change that filled it. */
const everyMs = 25_000
const stopWithinMs = 3000
const listsPerPage = 100
/** A list that stays locked is left to the next turn; where this many fail, the database does. */
const maxFailures = 3
/** A batch of the longest texts keeps the embedded database for some ten milliseconds. */
const eventsPerBatch = 250

/** The bytes of an event's text: for as long as it is kept they count, and then they do not. */
export const eventBytes = (e: string): SQL => sql.raw(`octet_length(${e}.payload::text)`)

/** @param maxBytes what a tenant may keep, null for no limit: those that keep more are summed up anew in every turn */
export function createKeptBytesCount(db: Database, log: Logger, maxBytes: number | null): KeptBytesCount {
  let timer: Timer | undefined
  let stopping = false
  let failing = false
  let turn: Promise<void> = Promise.resolve()

  const countList = async ({ tenantId, listId }: ListKey): Promise<void> => {
    for (let isBehind = true; isBehind && !stopping; ) {
      const [batch] = await db.write({ tenantId }, lock(tenantId, listId), countEvents(tenantId, listId))
      isBehind = batch?.isBehind ?? false
    }
  }

  const countLists = async (lists: readonly ListKey[], failures: unknown[]): Promise<void> => {
    for (const list of lists)
      await countList(list).catch((error: unknown) => {
        if (failures.push(error) === maxFailures) throw error
      })
    for (const tenantId of new Set(lists.map((list) => list.tenantId)))
      await db.write({ tenantId }, sumUp(tenantId))
  }

  const count = async (): Promise<void> => {
    const failures: unknown[] = []
    let last: ListKey | undefined
    do {
      const page = await db.read('streams', uncountedAfter(last))
      await countLists(page, failures)
      last = page.length < listsPerPage ? undefined : page.at(-1)
    } while (last && !stopping)
    // Lists and events may have been deleted, which leaves no event to count.
    for (const { id } of stopping ? [] : await db.read('system', keepingMore(maxBytes)))
      await db.write({ tenantId: id }, sumUp(id))
    if (failures.length > 0) throw failures[0]
  }

  const takeTurn = async (): Promise<void> => {
    try {
      await count()
      failing = false
    } catch (error) {
      if (!failing) log.warn('what tenants keep cannot be counted; will try again', { error })
      failing = true
    }
    if (!stopping) timer = setTimeout(next, everyMs).unref()
  }
  const next = (): void => {
    turn = takeTurn()
  }

  return {
    count,
    start: next,
    async stop() {
      stopping = true
      clearTimeout(timer)
      await pTimeout(turn, { milliseconds: stopWithinMs, message: false })
    },
  }
}

const lowest: ListKey = {
  tenantId: '00000000-0000-0000-0000-000000000000',
  listId: '00000000-0000-0000-0000-000000000000',
}

const uncountedAfter = ({ tenantId, listId } = lowest) =>
  sql<ListKey>`select tenant_id as "tenantId", id as "listId" from shopping_lists
    where counted_seq <> seq and (tenant_id, id) > (${tenantId}::uuid, ${listId}::uuid)
    order by tenant_id, id limit ${listsPerPage}::int`

const keepingMore = (maxBytes: number | null) =>
  sql<{ id: string }>`select id from tenants where kept_bytes > ${maxBytes}::bigint`

const lock = (tenantId: string, id: string): SQL =>
  sql`select from shopping_lists where tenant_id = ${tenantId} and id = ${id} for no key update`

/** Counts on, under the list's lock: it has the items and events up to its seq. */
const countEvents = (tenantId: string, id: string) => sql<{ isBehind: boolean }>`
  with seen as (
    select ${listTextBytes('l')} as text_bytes, e.bytes,
      case when e.events < ${eventsPerBatch}::int then l.seq else e.last end as last
    from shopping_lists l
    cross join lateral (
      select count(*) as events, coalesce(sum(bytes), 0) as bytes, max(seq) as last from (
        select n.seq, ${eventBytes('n')} as bytes from list_events n
        where n.tenant_id = l.tenant_id and n.list_id = l.id and n.seq > l.counted_seq
        order by n.seq limit ${eventsPerBatch}::int
      ) n
    ) e
    where l.tenant_id = ${tenantId} and l.id = ${id} and l.counted_seq <> l.seq
  )
  update shopping_lists l set text_bytes = s.text_bytes, text_seq = l.seq,
    event_bytes = l.event_bytes + s.bytes, counted_seq = s.last
  from seen s where l.tenant_id = ${tenantId} and l.id = ${id}
  returning l.counted_seq <> l.seq as "isBehind"`

const sumUp = (tenantId: string): SQL => sql`
  update tenants t set kept_bytes = k.bytes
  from (
    select coalesce(sum(octet_length(l.name) + coalesce(octet_length(l.description), 0)
      + coalesce(l.text_bytes, 0) + l.event_bytes), 0)::bigint as bytes
    from shopping_lists l where l.tenant_id = ${tenantId}
  ) k
  where t.id = ${tenantId} and t.kept_bytes <> k.bytes`
