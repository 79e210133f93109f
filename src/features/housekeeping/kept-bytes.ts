/**
 * Counts what each tenant keeps, in bytes of the text of its lists, items and events, for TENANT_MAX_MB. A list's items
 * are counted by every change, unless a release made it that does not count; here its events are, from where the last
 * count ended. Lists with uncounted events stand in an index of their own, so that a count costs as much as has changed
 * since the last.
 *
 * Every instance counts. What one has counted, the next does not find; a list that is being written or counted at this
 * moment is left to the next turn. Deleted items are not counted: their text is in their events for as long as those are
 * kept.
 */
import { type SQL, sql } from 'drizzle-orm'
import pTimeout from 'p-timeout'
import type { Database } from '../../db/database.ts'
import type { Logger } from '../../log.ts'
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
const listsPerBatch = 50
/** Of one list. A batch of the longest texts keeps the embedded database for some ten milliseconds. */
const eventsPerBatch = 250

/** The bytes of an event's text: for as long as it is kept they count, and then they do not. */
export const eventBytes = (e: string): SQL => sql.raw(`octet_length(${e}.payload::text)`)

/** @param maxBytes what a tenant may keep, null for no limit: those that keep more are summed up anew in every turn */
export function createKeptBytesCount(db: Database, log: Logger, maxBytes: number | null): KeptBytesCount {
  let timer: Timer | undefined
  let stopping = false
  let failing = false
  let turn: Promise<void> = Promise.resolve()

  const countTenant = async (tenantId: string): Promise<void> => {
    for (let isLast = false; !isLast && !stopping; ) {
      const [batch] = await db.write({ tenantId }, countEvents(tenantId))
      isLast = batch?.isLast ?? true
    }
    await db.write({ tenantId }, sumUp(tenantId))
  }

  const count = async (): Promise<void> => {
    let last = ''
    for (;;) {
      const [next] = await db.read('streams', uncountedAfter(last))
      if (!next || stopping) break
      last = next.id
      await countTenant(last)
    }
    // Lists and events may have been deleted, which leaves no event to count.
    for (const { id } of stopping ? [] : await db.read('system', keepingMore(maxBytes)))
      await db.write({ tenantId: id }, sumUp(id))
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

/** The next tenant with uncounted events. @param last empty at the beginning */
const uncountedAfter = (last: string) =>
  sql<{ id: string }>`select tenant_id as id from shopping_lists
    where counted_seq <> seq and tenant_id > coalesce(nullif(${last}, '')::uuid, '00000000-0000-0000-0000-000000000000')
    order by tenant_id limit 1`

const keepingMore = (maxBytes: number | null) =>
  sql<{ id: string }>`select id from tenants where kept_bytes > ${maxBytes}::bigint`

/**
 * Counts on for some of the tenant's lists. They are read as of one snapshot, in which each list has the items and events
 * up to its seq; one that was changed or counted since then, before it was locked, is left as it is.
 */
const countEvents = (tenantId: string) => sql<{ isLast: boolean }>`
  with free as (
    select id from shopping_lists where tenant_id = ${tenantId} and counted_seq <> seq
    order by id limit ${listsPerBatch}::int for no key update skip locked
  ), seen as (
    select l.id, l.seq, l.counted_seq, ${listTextBytes('l')} as text_bytes, e.bytes,
      case when e.events < ${eventsPerBatch}::int then l.seq else e.last end as last,
      e.events = ${eventsPerBatch}::int as has_more
    from free f join shopping_lists l on l.tenant_id = ${tenantId} and l.id = f.id
    cross join lateral (
      select count(*) as events, coalesce(sum(bytes), 0) as bytes, max(seq) as last from (
        select n.seq, ${eventBytes('n')} as bytes from list_events n
        where n.tenant_id = l.tenant_id and n.list_id = l.id and n.seq > l.counted_seq
        order by n.seq limit ${eventsPerBatch}::int
      ) n
    ) e
  ), counted as (
    update shopping_lists l set text_bytes = s.text_bytes, text_seq = s.seq,
      event_bytes = l.event_bytes + s.bytes, counted_seq = s.last
    from seen s
    where l.tenant_id = ${tenantId} and l.id = s.id and (l.seq, l.counted_seq) = (s.seq, s.counted_seq)
  )
  select count(*) < ${listsPerBatch}::int and not coalesce(bool_or(has_more), false) as "isLast" from seen`

const sumUp = (tenantId: string): SQL => sql`
  update tenants t set kept_bytes = k.bytes
  from (
    select coalesce(sum(octet_length(l.name) + coalesce(octet_length(l.description), 0)
      + coalesce(l.text_bytes, 0) + l.event_bytes), 0)::bigint as bytes
    from shopping_lists l where l.tenant_id = ${tenantId}
  ) k
  where t.id = ${tenantId} and t.kept_bytes <> k.bytes`
