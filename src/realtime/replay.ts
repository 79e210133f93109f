/**
 * Subscribing without a race and without a buffer: events after the client's cursor are sent from the database until
 * the cursor has reached the stream's head, and in that same synchronous step the client joins the topic. No event can
 * fall in between, and none is sent twice.
 */
import pTimeout from 'p-timeout'
import type { Actor } from '../access/actor.ts'
import type { RateLimits } from '../access/rate-limits.ts'
import type { Line, Place } from '../access/reading-lines.ts'
import type { Database } from '../db/database.ts'
import { AppError } from '../errors.ts'
import type { ListKey } from '../features/list-changes/events.ts'
import {
  formatHistoryPosition,
  type HistoryPosition,
  type Since,
  samePosition,
} from '../lib/history-position.ts'
import { type EventPage, findHead, pageSize, readEvents } from './event-log.ts'
import { type Hub, isTerminalFor, type Subscription } from './hub.ts'
import { encode, type ServerAnswer } from './protocol.ts'

export interface ReplayClient {
  /** Aborted once it is closed. */
  readonly gone: AbortSignal
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
  limits: Pick<RateLimits, 'ofSocket'>
  replays: Line
}

/** Refused before `subscribed` was sent: the actor cannot see the list, or has used up their requests. */
export type Refusal = 'not_found' | { retryAfterSeconds: number }

/**
 * Sends `subscribed`, the events after `since`, or `resync_required` where that is not possible, and joins the client.
 * Counts as one call of the actor, and as one more for each 500 events.
 * @param since the last event the client has seen; undefined for live events only
 * @returns null, or why nothing was sent
 * @throws AppError database_unavailable, busy, only before `subscribed` was sent
 */
export async function replay(
  deps: ReplayDeps,
  actor: Actor,
  list: ListKey,
  since: Since | undefined,
  client: ReplayClient,
): Promise<Refusal | null> {
  const refusal = await countCalls(deps, actor, 1)
  if (refusal) return refusal
  const reading = createReading(deps, actor, list, client)
  try {
    // Before anything is looked up: what is known of the actor's rights must not grow old in line.
    if (since !== undefined) await reading.enter()
    if ((await findHead(deps.db, actor, list.listId)) === null) return 'not_found'
    return await start({ ...deps, actor, list, client, reading }, since)
  } finally {
    reading.leave()
  }
}

interface Replay extends ReplayDeps {
  actor: Actor
  list: ListKey
  client: ReplayClient
  reading: Reading
}

async function start(replay: Replay, since: Since | undefined): Promise<Refusal | null> {
  const { db, hub, actor, list, client, reading } = replay
  const subscription = await hub.open(list)
  let joined = false
  try {
    // Checked again now that the stream listens: up to this event the actor was allowed to see the list.
    const found = await findHead(db, actor, list.listId)
    if (found === null) return 'not_found'
    const first = since === undefined ? null : await reading.read(since)
    const page = first?.state === 'continues' ? first : null
    const more = since && page ? Math.floor((page.head.seq - since.seq) / pageSize) : 0
    const refusal = more > 0 ? await countCalls(replay, actor, more) : null
    if (refusal) return refusal
    const sent = client.sent()
    const allowed = sent && sent.seq > found.seq ? sent : found
    const head = first?.head ?? allowed
    client.confirm({ type: 'subscribed', payload: { ...placeOf(list, head), recovered: page !== null } })
    if (since !== undefined && page === null) sendResync(client, list, head)
    const cursor = page?.events.length === 0 ? page.head : head
    joined = await catchUp({ ...replay, subscription, allowedTo: allowed.seq }, cursor, page)
    return null
  } finally {
    if (!joined) client.leave(subscription)
  }
}

async function countCalls({ limits }: ReplayDeps, { userId }: Actor, calls: number): Promise<Refusal | null> {
  const retryAfterSeconds = await limits.ofSocket(userId, calls)
  return retryAfterSeconds === null ? null : { retryAfterSeconds }
}

type Reading = ReturnType<typeof createReading>

/** Reads events in a place in line: entered for the first, kept until the client has them all or proves slow. */
function createReading({ db, replays }: ReplayDeps, actor: Actor, list: ListKey, { gone }: ReplayClient) {
  let place: Place | null = null
  const enter = async (): Promise<Place> => {
    place ??= await replays.enter(actor, gone)
    return place
  }
  return {
    enter,
    read: async (cursor: Since): Promise<EventPage> =>
      (await enter()).read(() => readEvents(db, list, cursor)),
    leave(): void {
      place?.leave()
      place = null
    },
  }
}

interface CatchUp extends Replay {
  subscription: Subscription
  /** Up to this number the actor was allowed to see the list. */
  allowedTo: number
}

/** @returns whether the client has joined; it has not when it was closed or the list has ended for the actor */
async function catchUp(
  { db, actor, list, client, reading, subscription: { stream }, subscription, allowedTo }: CatchUp,
  from: HistoryPosition,
  firstPage: EventPage | null,
): Promise<boolean> {
  let cursor = from
  let page = firstPage
  while (!client.gone.aborted) {
    let isSlow = false
    for (const event of page?.events ?? []) {
      isSlow = !(await isSoonWritable(client))
      if (client.gone.aborted) return false
      if (isSlow) break
      client.send(event.text)
      cursor = { seq: event.seq, mark: event.mark }
      // Before that they may have left and come back.
      if (event.seq > allowedTo && isTerminalFor(event, actor.userId)) return sendUnsubscribed(client, list)
    }
    page = null
    if (isSlow || !(await isSoonWritable(client))) await letSlowClientGo(reading, client)
    if (client.gone.aborted) return false
    const head = stream.head()
    if (samePosition(head, cursor)) {
      client.join(subscription)
      return true
    }
    page = await whileOpen(client, () => reading.read(cursor))
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

const patienceMs = 200
const slowPauseMs = 1000

const isSoonWritable = (client: ReplayClient): Promise<boolean> =>
  pTimeout(
    client.writable().then(() => true),
    { milliseconds: patienceMs, fallback: () => false },
  )

/** Its other devices need the place, and the events that it does not take would fill the memory: they are read again. */
async function letSlowClientGo(reading: Reading, client: ReplayClient): Promise<void> {
  reading.leave()
  await client.writable()
  // Until there is room for more than an event or two.
  await Bun.sleep(slowPauseMs)
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
  if (!client.gone.aborted) client.send(encode({ type: 'unsubscribed', payload: { list_id: listId } }))
  return false
}

const retryMs = 500

/** After `subscribed` the client relies on what follows, so an unavailable database is waited for. Null once closed. */
async function whileOpen<T>(client: ReplayClient, read: () => Promise<T>): Promise<T | null> {
  while (!client.gone.aborted) {
    try {
      return await read()
    } catch (error) {
      if (!(error instanceof AppError)) throw error
    }
    await Bun.sleep(retryMs)
  }
  return null
}
