/**
 * Subscribing without a race and without a buffer: events after the client's cursor are sent from the database until
 * the cursor has reached the stream's head, and in that same synchronous step the client joins the topic. No event can
 * fall in between, and none is sent twice.
 */
import type { Actor } from '../access/actor.ts'
import type { Database } from '../db/database.ts'
import { AppError } from '../errors.ts'
import type { ListKey } from '../features/list-changes/events.ts'
import {
  formatHistoryPosition,
  type HistoryPosition,
  type Since,
  samePosition,
} from '../lib/history-position.ts'
import { type EventPage, findHead, readEvents } from './event-log.ts'
import { type Hub, isTerminalFor, type Subscription } from './hub.ts'
import { encode, type ServerAnswer } from './protocol.ts'

export interface ReplayClient {
  isClosed(): boolean
  /** Resolves when little enough is unsent to go on, or the client is closed. */
  writable(): Promise<void>
  send(text: string): void
  /** The last event sent by the subscription that this one replaces; null without one. */
  sent(): HistoryPosition | null
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
 * Sends `subscribed`, the events after `since`, or `resync_required` where that is not possible, and joins the client.
 * @param since the last event the client has seen; undefined for live events only
 * @returns false when the actor cannot see the list; nothing was sent then
 * @throws AppError database_unavailable, only before `subscribed` was sent
 */
export async function replay(
  { db, hub }: ReplayDeps,
  actor: Actor,
  list: ListKey,
  since: Since | undefined,
  client: ReplayClient,
): Promise<boolean> {
  if ((await findHead(db, actor, list.listId)) === null) return false
  const subscription = await hub.open(list)
  let joined = false
  try {
    // Checked again now that the stream listens: up to this event the actor was allowed to see the list.
    const found = await findHead(db, actor, list.listId)
    if (found === null) return false
    const first = since === undefined ? null : await readEvents(db, list, since)
    const page = first?.state === 'continues' ? first : null
    const sent = client.sent()
    const allowed = sent && sent.seq > found.seq ? sent : found
    const head = first?.head ?? allowed
    client.confirm({ type: 'subscribed', payload: { ...placeOf(list, head), recovered: page !== null } })
    if (since !== undefined && page === null) sendResync(client, list, head)
    const cursor = page?.events.length === 0 ? page.head : head
    joined = await catchUp({ db, actor, list, client, subscription, allowedTo: allowed.seq }, cursor, page)
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
  /** Up to this number the actor was allowed to see the list. */
  allowedTo: number
}

/** @returns whether the client has joined; it has not when it was closed or the list has ended for the actor */
async function catchUp(
  { db, actor, list, client, subscription: { stream }, subscription, allowedTo }: CatchUp,
  from: HistoryPosition,
  firstPage: EventPage | null,
): Promise<boolean> {
  let cursor = from
  let page = firstPage
  while (!client.isClosed()) {
    for (const event of page?.events ?? []) {
      await client.writable()
      if (client.isClosed()) return false
      client.send(event.text)
      cursor = { seq: event.seq, mark: event.mark }
      // Before that they may have left and come back.
      if (event.seq > allowedTo && isTerminalFor(event, actor.userId)) return sendUnsubscribed(client, list)
    }
    await client.writable()
    if (client.isClosed()) return false
    const head = stream.head()
    if (samePosition(head, cursor)) {
      client.join(subscription)
      return true
    }
    page = await whileOpen(client, () => readEvents(db, list, cursor))
    if (page !== null && page.state !== 'continues') {
      // One of the events that are skipped may have ended the actor's membership.
      if ((await whileOpen(client, () => findHead(db, actor, list.listId))) === null)
        return sendUnsubscribed(client, list)
      sendResync(client, list, page.head)
      cursor = page.head
      page = null
    }
    // The database has no more than was sent, and the stream is not there: behind, or in another history.
    else if (page?.events.length === 0) await whileOpen(client, () => stream.catchUp(cursor.seq))
  }
  return false
}

const placeOf = ({ listId }: ListKey, head: HistoryPosition) => ({
  list_id: listId,
  seq: head.seq,
  position: formatHistoryPosition(head),
})

/** The `resync_required` message. */
export const resyncText = (list: ListKey, head: HistoryPosition): string =>
  encode({ type: 'resync_required', payload: placeOf(list, head) })

const sendResync = (client: ReplayClient, list: ListKey, head: HistoryPosition): void =>
  client.send(resyncText(list, head))

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
