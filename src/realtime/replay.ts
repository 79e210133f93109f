/**
 * Subscribing without a race and without a buffer: events after the client's cursor are sent from the database until
 * the cursor has reached the stream's head, and in that same synchronous step the client joins the topic. No event can
 * fall in between, and none is sent twice.
 */
import type { Actor } from '../access/actor.ts'
import type { Database } from '../db/database.ts'
import { AppError } from '../errors.ts'
import type { ListKey } from '../features/list-changes/events.ts'
import { type EventPage, findSeq, readEvents } from './event-log.ts'
import { type Hub, isTerminalFor, type Subscription } from './hub.ts'
import { encode, type ServerAnswer } from './protocol.ts'

export interface ReplayClient {
  isClosed(): boolean
  /** Resolves when little enough is unsent to go on, or the client is closed. */
  writable(): Promise<void>
  send(text: string): void
  /** The last seq sent by the subscription that this one replaces; 0 without one. */
  sentSeq(): number
  /** Ends the subscription that this one replaces, and answers `subscribed`. */
  confirm(message: ServerAnswer): void
  /** Joins the topic. Must be synchronous. */
  join(subscription: Subscription): void
  leave(subscription: Subscription): void
}

interface ReplayDeps {
  db: Database
  hub: Hub
}

/**
 * Sends `subscribed`, the events after `since` and `resync_required` where some have expired, and joins the client.
 * @param since the last seq the client has seen; undefined for live events only
 * @returns false when the actor cannot see the list; nothing was sent then
 * @throws AppError database_unavailable, only before `subscribed` was sent
 */
export async function replay(
  { db, hub }: ReplayDeps,
  actor: Actor,
  list: ListKey,
  since: number | undefined,
  client: ReplayClient,
): Promise<boolean> {
  if ((await findSeq(db, actor, list.listId)) === null) return false
  const subscription = await hub.open(list)
  let joined = false
  try {
    // Checked again now that the stream listens: up to this seq the actor was allowed to see the list.
    const found = await findSeq(db, actor, list.listId)
    if (found === null) return false
    const seq = Math.max(found, client.sentSeq())
    const first = since === undefined || since > seq ? null : await readEvents(db, list, since)
    const page = first?.expired ? null : first
    client.confirm({
      type: 'subscribed',
      payload: { list_id: list.listId, seq, recovered: page !== null },
    })
    if (since !== undefined && page === null) sendResync(client, list, seq)
    const cursor = page === null || since === undefined ? seq : since
    joined = await catchUp({ db, actor, list, client, subscription, seq }, cursor, page)
    return true
  } finally {
    if (!joined) client.leave(subscription)
  }
}

interface CatchUp {
  db: Database
  actor: Actor
  list: ListKey
  client: ReplayClient
  subscription: Subscription
  /** Up to here the actor was allowed to see the list. */
  seq: number
}

/** @returns whether the client has joined; it has not when it was closed or the list has ended for the actor */
async function catchUp(
  { db, actor, list, client, subscription: { stream }, subscription, seq }: CatchUp,
  from: number,
  firstPage: EventPage | null,
): Promise<boolean> {
  let cursor = from
  let page = firstPage
  while (!client.isClosed()) {
    for (const event of page?.events ?? []) {
      await client.writable()
      if (client.isClosed()) return false
      client.send(event.text)
      cursor = event.seq
      // Up to `seq` they may have left and come back.
      if (event.seq > seq && isTerminalFor(event, actor.userId)) return sendUnsubscribed(client, list)
    }
    await client.writable()
    if (client.isClosed()) return false
    const head = stream.head()
    if (head === cursor) {
      client.join(subscription)
      return true
    }
    if (head < cursor) await whileOpen(client, () => stream.catchUp(cursor))
    page = head < cursor ? null : await whileOpen(client, () => readEvents(db, list, cursor))
    if (page?.expired) {
      // One of the expired events may have ended the actor's membership.
      if ((await whileOpen(client, () => findSeq(db, actor, list.listId))) === null)
        return sendUnsubscribed(client, list)
      sendResync(client, list, page.seq)
      cursor = page.seq
      page = null
    }
  }
  return false
}

const sendResync = (client: ReplayClient, { listId }: ListKey, seq: number): void =>
  client.send(encode({ type: 'resync_required', payload: { list_id: listId, seq } }))

function sendUnsubscribed(client: ReplayClient, { listId }: ListKey): false {
  if (!client.isClosed()) client.send(encode({ type: 'unsubscribed', payload: { list_id: listId } }))
  return false
}

const retryMs = 500

/** After `subscribed` the client relies on what follows, so an unavailable database is waited for. Null once closed. */
async function whileOpen<T>(client: ReplayClient, read: () => Promise<T>): Promise<T | null> {
  while (!client.isClosed()) {
    try {
      return await read()
    } catch (error) {
      if (!(error instanceof AppError)) throw error
    }
    await Bun.sleep(retryMs)
  }
  return null
}
