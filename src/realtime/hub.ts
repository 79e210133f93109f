/**
 * This instance's streams: one per list that somebody here listens to, opened with the first and closed with the last.
 * An event is given to the list's topic once, however many listen; who must hear no more of the list is taken off the
 * topic in the same step, after the event and before the next.
 */

import type { Database } from '../db/database.ts'
import type { ListEvent, ListKey } from '../features/list-changes/events.ts'
import type { Logger } from '../log.ts'
import { type Broker, type BrokerHandlers, topicOf } from './broker.ts'
import { readEvents, readHeads } from './event-log.ts'
import { createStream, type Stream } from './stream.ts'

/** Somebody on a topic. */
export interface Listener {
  readonly userId: string
  /** Whether the list may be seen as the database has it now. @throws AppError database_unavailable */
  mayStillHear(list: ListKey): Promise<boolean>
  /** The list's events have ended for this listener: it is to be told and taken off the topic. */
  dismiss(list: ListKey): void
}

export interface Subscription {
  readonly stream: Stream
  /** From here on `dismiss` is called when it is due. */
  join(listener: Listener): void
  /** Gives the stream up. */
  leave(listener: Listener): void
}

export interface HubCounts {
  streams: number
  published: number
  delivered: number
  healed: number
}

export interface Hub {
  /** After a commit: tells this instance and, through the broker, the others. */
  publish(list: ListKey, events: readonly ListEvent[], requestId?: string | null): void
  /** @throws AppError database_unavailable */
  open(list: ListKey): Promise<Subscription>
  /** Compares all heads with the database, now. */
  checkHeads(): Promise<void>
  counts(): HubCounts
  /** Calls back with the seconds from each event's commit to its delivery here; events with no listeners are left out. */
  onDelivery(observer: (seconds: number) => void): void
  close(): Promise<void>
}

export interface HubDeps {
  db: Database
  log: Logger
  makeBroker: (handlers: BrokerHandlers) => Broker
  /** Gives a text to everyone on a topic. */
  publishToTopic: (topic: string, text: string) => void
  /** What everyone on a list is told when events before `seq` are lost. */
  resyncText: (list: ListKey, seq: number) => string
  checkHeadsMs: number
}

interface Entry {
  list: ListKey
  users: number
  listeners: Set<Listener>
  stream: Stream | null
  /** What came before the stream knew where to begin. */
  before: ListEvent[]
  ready: Promise<Stream>
}

const maxBefore = 256
const healedAtOnce = 8

/** Whether an event is the last that its reader may see of the list. */
export const endsFor = ({ type, userId }: ListEvent, reader: string): boolean =>
  type === 'list_deleted' || ((type === 'member_removed' || type === 'member_left') && userId === reader)

export function createHub(deps: HubDeps): Hub {
  const { db, log, publishToTopic, resyncText } = deps
  const entries = new Map<string, Entry>()
  const counts = { published: 0, delivered: 0, healed: 0 }
  let observeDelivery: (seconds: number) => void = () => undefined

  const deliver = (entry: Omit<Entry, 'ready'>, event: ListEvent): void => {
    publishToTopic(topicOf(entry.list), event.text)
    counts.delivered += entry.listeners.size
    if (entry.listeners.size > 0) observeDelivery(ageSeconds(event))
    for (const listener of entry.listeners)
      if (endsFor(event, listener.userId)) {
        entry.listeners.delete(listener)
        listener.dismiss(entry.list)
      }
  }

  /** An event that is lost may have been the one that ended somebody's membership, so all are asked for anew. */
  const readmit = async ({ list, listeners }: Omit<Entry, 'ready'>): Promise<void> => {
    const asked = await Promise.all(
      [...listeners].map(async (listener) => ({ listener, may: await listener.mayStillHear(list) })),
    )
    for (const { listener, may } of asked) if (!may && listeners.delete(listener)) listener.dismiss(list)
  }

  /** Where a change can be followed to all who hear of it, by its request's id or its list and numbers. */
  const tell = (what: string, { listId }: ListKey, events: readonly ListEvent[], requestId: string | null) =>
    log.debug(what, {
      list_id: listId,
      from_seq: events[0]?.seq,
      events: events.length,
      request_id: requestId,
    })

  const onEvents = (list: ListKey, events: readonly ListEvent[]): void => {
    const entry = entries.get(topicOf(list))
    if (entry?.stream) entry.stream.offer(events)
    else if (entry && entry.before.length < maxBefore) entry.before.push(...events)
  }

  const checkHeads = async (): Promise<void> => {
    const lists = [...entries.values()].map(({ list }) => list)
    if (lists.length === 0) return
    const heads = await readHeads(db, lists)
    const behind = [...entries.values()].flatMap(({ list, stream }) => {
      const seq = heads.get(`${list.tenantId}:${list.listId}`) ?? 0
      return stream && seq > stream.head() ? [{ stream, seq }] : []
    })
    // After an outage there may be thousands; a list that cannot be read does not keep the others waiting.
    const heal = async (): Promise<void> => {
      for (let next = behind.pop(); next; next = behind.pop())
        await next.stream
          .reach(next.seq)
          .catch((error: unknown) => log.warn('a stream could not be brought up to date', { error }))
    }
    await Promise.all(Array.from({ length: healedAtOnce }, heal))
  }

  const lookAround = (): void => {
    checkHeads().catch((error: unknown) =>
      log.warn('streams could not be compared with the database', { error }),
    )
  }

  const broker = deps.makeBroker({
    onEvents: (list, events, requestId) => {
      tell('events arrived', list, events, requestId)
      onEvents(list, events)
    },
    onDoubt: lookAround,
  })
  const timer = setInterval(lookAround, deps.checkHeadsMs)

  const begin = async (entry: Omit<Entry, 'ready'>): Promise<Stream> => {
    await broker.listen(entry.list)
    const heads = await readHeads(db, [entry.list])
    const from = heads.get(`${entry.list.tenantId}:${entry.list.listId}`) ?? 0
    const stream = createStream(entry.list, from, {
      log,
      read: (list, cursor) => readEvents(db, list, cursor),
      deliver: (_list, event) => deliver(entry, event),
      readmit: () => readmit(entry),
      resync: (list, seq) => publishToTopic(topicOf(list), resyncText(list, seq)),
      onHealed: (count, firstSeq) => {
        counts.healed += count
        log.debug('events healed', { list_id: entry.list.listId, from_seq: firstSeq, events: count })
      },
    })
    entry.stream = stream
    stream.offer(entry.before.splice(0))
    return stream
  }

  const enter = (list: ListKey): Entry => {
    const known = entries.get(topicOf(list))
    if (known) return known
    const base: Omit<Entry, 'ready'> = { list, users: 0, listeners: new Set(), stream: null, before: [] }
    const entry = Object.assign(base, { ready: begin(base) })
    entries.set(topicOf(list), entry)
    return entry
  }

  const giveUp = (entry: Entry): void => {
    entry.users--
    if (entry.users > 0) return
    entry.stream?.close()
    if (entries.get(topicOf(entry.list)) !== entry) return
    entries.delete(topicOf(entry.list))
    broker.unlisten(entry.list)
  }

  return {
    publish(list, events, requestId = null) {
      counts.published += events.length
      tell('events published', list, events, requestId)
      onEvents(list, events)
      broker.publish(list, events, requestId)
    },
    async open(list) {
      const entry = enter(list)
      entry.users++
      try {
        const stream = await entry.ready
        return {
          stream,
          join: (listener) => entry.listeners.add(listener),
          leave: (listener) => {
            entry.listeners.delete(listener)
            giveUp(entry)
          },
        }
      } catch (error) {
        giveUp(entry)
        throw error
      }
    },
    checkHeads,
    onDelivery(observer) {
      observeDelivery = observer
    },
    counts: () => ({ ...counts, streams: entries.size }),
    async close() {
      clearInterval(timer)
      for (const { stream } of entries.values()) stream?.close()
      entries.clear()
      await broker.close()
    },
  }
}

const timeKey = '"at":"'

/** By its own time, which the database wrote; the clocks of two machines may differ, so never below 0. */
function ageSeconds({ text }: ListEvent): number {
  // Behind the payload come only numbers, times and ids, so the last one is the event's own.
  const from = text.lastIndexOf(timeKey) + timeKey.length
  return Math.max(0, Date.now() - Date.parse(text.slice(from, text.indexOf('"', from)))) / 1000
}
