/**
 * This instance's streams: one per list that somebody here follows, opened for the first and closed after the last.
 * An event is published to the list's topic once, however many listen. Listeners who may see no more of the list are
 * taken off the topic in the same synchronous step, after that event and before the next.
 */
import type { Database } from '../db/database.ts'
import { forService } from '../db/shares.ts'
import type { ListEvent, ListKey } from '../features/list-changes/events.ts'
import { type HistoryPosition, historyStart, samePosition } from '../lib/history-position.ts'
import { inParallel } from '../lib/in-parallel.ts'
import type { Logger } from '../log.ts'
import { type Broker, type BrokerHandlers, type BrokerState, topicOf } from './broker.ts'
import { createHints } from './broker-upgrade.ts'
import { readEvents, readHeads } from './event-log.ts'
import { createStream, type Stream } from './stream.ts'

export interface Listener {
  readonly userId: string
  /** Asks the database. @throws AppError database_unavailable */
  isStillAllowed(list: ListKey): Promise<boolean>
  /** Must take itself off the topic before it returns. */
  onEvicted(list: ListKey): void
}

export interface Subscription {
  readonly stream: Stream
  /** From now on the listener can be evicted. */
  join(listener: Listener): void
  /** Must be called once, joined or not: the last to leave closes the stream. */
  leave(listener: Listener): void
}

export interface HubCounts {
  streams: number
  published: number
  delivered: number
  /** Events the broker missed, read from the database. */
  healed: number
  /** Messages of other instances that were not believed or not understood. */
  dropped: number
}

export interface Hub {
  /** To be called after the commit. Returns without waiting. */
  publish(list: ListKey, events: readonly ListEvent[], requestId?: string | null): void
  /** @throws AppError database_unavailable */
  open(list: ListKey): Promise<Subscription>
  /** Compares the heads of all streams with the database and reads what is missing. @throws AppError database_unavailable */
  reconcileHeads(): Promise<void>
  counts(): HubCounts
  brokerState(): BrokerState
  /** Observes the seconds from an event's commit to its delivery here; events without listeners are left out. */
  onDelivery(observer: (seconds: number) => void): void
  close(): Promise<void>
}

export interface HubDeps {
  db: Database
  log: Logger
  makeBroker: (handlers: BrokerHandlers) => Broker
  publishToTopic: (topic: string, text: string) => void
  /** The `resync_required` message. */
  resyncText: (list: ListKey, head: HistoryPosition) => string
  reconcileMs: number
}

export function createHub(deps: HubDeps): Hub {
  const { log } = deps
  const topics = new Map<string, Topic>()
  const counts = { published: 0, delivered: 0, healed: 0 }
  let observeDelivery: (seconds: number) => void = () => undefined

  const enqueue = (list: ListKey, events: readonly ListEvent[]): void =>
    topics.get(topicOf(list))?.enqueue(events)

  const reconcileHeads = (): Promise<void> => catchUpAll(deps, [...topics.values()])
  const reconciling = createReconciling(deps, reconcileHeads)

  const broker = deps.makeBroker({
    onEvents(list, events, requestId) {
      log.debug('events arrived', logFields(list, events, requestId))
      enqueue(list, events)
    },
    onHint: followHints(deps, topics),
    onReconnect: reconciling.start,
  })

  const onDelivered = (event: ListEvent, listeners: number): void => {
    counts.delivered += listeners
    if (listeners > 0) observeDelivery(ageSeconds(event))
  }
  const onGapFilled = (count: number): void => {
    counts.healed += count
  }

  const enter = (list: ListKey): Topic => {
    const name = topicOf(list)
    const topic = topics.get(name) ?? openTopic(list, { ...deps, broker, onDelivered, onGapFilled })
    topics.set(name, topic)
    topic.users++
    return topic
  }

  const exit = (topic: Topic): void => {
    if (--topic.users > 0) return
    topic.stream()?.close()
    if (topics.delete(topicOf(topic.list))) broker.unlisten(topic.list)
  }

  return {
    publish(list, events, requestId = null) {
      counts.published += events.length
      log.debug('events published', logFields(list, events, requestId))
      enqueue(list, events)
      broker.publish(list, events, requestId)
    },
    async open(list) {
      const topic = enter(list)
      try {
        const stream = await topic.opened
        return {
          stream,
          join: (listener) => topic.listeners.add(listener),
          leave(listener) {
            topic.listeners.delete(listener)
            exit(topic)
          },
        }
      } catch (error) {
        exit(topic)
        throw error
      }
    },
    reconcileHeads,
    onDelivery(observer) {
      observeDelivery = observer
    },
    counts: () => ({ ...counts, streams: topics.size, dropped: broker.dropped() }),
    brokerState: broker.state,
    async close() {
      reconciling.stop()
      for (const topic of topics.values()) topic.stream()?.close()
      topics.clear()
      await broker.close()
    },
  }
}

/** Ignores hints at lists that nobody follows here. */
function followHints(deps: HubDeps, topics: ReadonlyMap<string, Topic>): BrokerHandlers['onHint'] {
  const compareSoon = createHints(deps.log, (lists) => {
    const hinted = lists.flatMap((list) => topics.get(topicOf(list)) ?? [])
    return catchUpAll(deps, hinted)
  })
  return (list) => {
    if (topics.has(topicOf(list))) compareSoon(list)
  }
}

/** The first retry comes after this, each next one after twice as long. */
const firstRetryMs = 50

/** Reconciles at regular intervals and, where that fails, again as soon as it may work. */
function createReconciling({ log, reconcileMs }: HubDeps, reconcileHeads: () => Promise<void>) {
  let failures = 0
  let retry: Timer | undefined
  let isStopped = false
  const start = (): void => {
    clearTimeout(retry)
    void reconcileHeads().then(
      () => {
        failures = 0
      },
      (error: unknown) => {
        if (failures === 0)
          log.warn('streams could not be compared with the database; trying again', { error })
        failures += 1
        clearTimeout(retry)
        if (!isStopped) retry = setTimeout(start, Math.min(firstRetryMs * 2 ** (failures - 1), reconcileMs))
      },
    )
  }
  const timer = setInterval(start, reconcileMs)
  return {
    start,
    stop(): void {
      isStopped = true
      clearInterval(timer)
      clearTimeout(retry)
    },
  }
}

/** One list: its stream and who listens. */
interface Topic {
  readonly list: ListKey
  readonly listeners: Set<Listener>
  /** Subscriptions that are open. */
  users: number
  /** Rejects with AppError database_unavailable. */
  readonly opened: Promise<Stream>
  /** Null until it is open. */
  stream(): Stream | null
  enqueue(events: readonly ListEvent[]): void
}

interface TopicDeps extends HubDeps {
  broker: Broker
  onDelivered: (event: ListEvent, listeners: number) => void
  onGapFilled: (count: number) => void
}

const maxEarly = 256

function openTopic(list: ListKey, deps: TopicDeps): Topic {
  const { db, log, broker, publishToTopic } = deps
  const name = topicOf(list)
  const listeners = new Set<Listener>()
  let stream: Stream | null = null
  /** Events received before the stream is open. */
  const early: ListEvent[] = []

  const evict = (listener: Listener): void => {
    if (listeners.delete(listener)) listener.onEvicted(list)
  }

  const deliver = (event: ListEvent): void => {
    publishToTopic(name, event.text)
    deps.onDelivered(event, listeners.size)
    for (const listener of listeners) if (isTerminalFor(event, listener.userId)) evict(listener)
  }

  const reauthorize = (): Promise<void> =>
    inParallel(concurrentReads, [...listeners], async (listener) => {
      if (!(await listener.isStillAllowed(list))) evict(listener)
    })

  const open = async (): Promise<Stream> => {
    // Listening first: what is committed after the head was read arrives.
    await broker.listen(list)
    const head = (await readHeads(db, [list])).get(name) ?? historyStart
    stream = createStream(head, {
      log,
      // Everybody's, whoever's event or subscription it was that found them missing.
      read: (cursor) => forService(() => readEvents(db, list, cursor)),
      deliver,
      reauthorize: () => forService(reauthorize),
      resync: (position) => publishToTopic(name, deps.resyncText(list, position)),
      onGapFilled(count, firstSeq) {
        deps.onGapFilled(count)
        log.debug('missed events read', { list_id: list.listId, from_seq: firstSeq, events: count })
      },
    })
    stream.enqueue(early.splice(0))
    return stream
  }

  return {
    list,
    listeners,
    users: 0,
    opened: forService(open),
    stream: () => stream,
    enqueue(events) {
      if (stream) stream.enqueue(events)
      else if (early.length < maxEarly) early.push(...events)
    },
  }
}

/** Whether the user may see nothing of the list after this event. */
export const isTerminalFor = ({ type, userId }: ListEvent, reader: string): boolean =>
  type === 'list_deleted' || ((type === 'member_removed' || type === 'member_left') && userId === reader)

/** After an outage there may be thousands of streams, and thousands of listeners to one. */
const concurrentReads = 8

async function catchUpAll({ db }: HubDeps, topics: readonly Topic[]): Promise<void> {
  if (topics.length === 0) return
  const emitted = topics.map((topic) => topic.stream()?.head())
  const heads = await readHeads(
    db,
    topics.map(({ list }) => list),
  )
  const differing = topics.flatMap((topic, index) => {
    const stream = topic.stream()
    const before = emitted[index]
    if (!stream || !before) return []
    const head = heads.get(topicOf(topic.list)) ?? historyStart
    // Read after it was emitted, an earlier head or another one of the same number is of another history.
    const isOther = head.seq <= before.seq && !samePosition(head, before)
    return isOther || head.seq > stream.head().seq ? [{ stream, seq: head.seq }] : []
  })
  // One that cannot be read must not hold up the others.
  const failures: unknown[] = []
  await inParallel(concurrentReads, differing, ({ stream, seq }) =>
    stream.catchUp(seq).catch((error: unknown) => void failures.push(error)),
  )
  if (failures.length > 0) throw failures[0]
}

/** By which a change can be traced through the logs of all instances. */
const logFields = ({ listId }: ListKey, events: readonly ListEvent[], requestId: string | null) => ({
  list_id: listId,
  from_seq: events[0]?.seq,
  events: events.length,
  request_id: requestId,
})

const timeKey = '"at":"'

/** From the event's own time, written by the database. Clocks differ between machines, so it is never below 0. */
function ageSeconds({ text }: ListEvent): number {
  // The event's own `at` is the last one: only numbers and ids follow the payload.
  const from = text.lastIndexOf(timeKey) + timeKey.length
  return Math.max(0, Date.now() - Date.parse(text.slice(from, text.indexOf('"', from)))) / 1000
}
