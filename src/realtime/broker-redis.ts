/**
 * The bridge between instances: one Redis channel per list, listened to only while somebody here follows the list.
 *
 * Pub/sub forgets whatever nobody hears, may lose messages while it reconnects, and under Bun can fall silent without
 * an error. So a canary goes round every second: when it does not come back in time the connection is thrown away and
 * made anew, and every time it begins again the streams are told to look at the database. In a cluster each server has
 * a canary, and a channel belongs to the server that has its hash slot.
 */
import type { ListEvent, ListKey } from '../features/list-changes/events.ts'
import type { Logger } from '../log.ts'
import { type Broker, type BrokerHandlers, topicOf } from './broker.ts'
import { openLine, type RedisLine } from './broker-redis-connection.ts'

const prefix = 'minimart:'
const canaryMs = 1000
/** So long without the canary, and the connection counts as dead. */
const silenceMs = 3500
/** So long a new listener waits for Redis; without it, the database is what it goes by. */
const listenPatienceMs = 1000

/** Instances of the version before send no request's id. */
type Message = { list: ListKey; events: readonly ListEvent[]; requestId?: string | null }

export function createRedisBroker(
  { url, log }: { url: string; log: Logger },
  handlers: BrokerHandlers,
): Broker {
  const canaryName = `${prefix}canary:${crypto.randomUUID()}`
  const listened = new Set<string>()
  let publisher: RedisLine | null = null
  let subscriber: RedisLine | null = null
  /** When each came back last. */
  let canaries = new Map<string, number>()
  let closed = false
  let away = false
  let building = false

  const onMessage = (text: string): void => {
    try {
      const { list, events, requestId = null } = JSON.parse(text) as Message
      handlers.onEvents(list, events, requestId)
    } catch (error) {
      log.warn('a message between instances could not be read', { error })
    }
  }

  const dispose = (): void => {
    for (const line of [publisher, subscriber]) line?.destroy()
    publisher = null
    subscriber = null
  }

  const build = async (): Promise<void> => {
    if (building || closed) return
    building = true
    const made: RedisLine[] = []
    const open = async (): Promise<RedisLine> => {
      const line = await openLine(url)
      line.onFault(() => replace(line))
      made.push(line)
      return line
    }
    try {
      const forPublishing = publisher ?? (await open())
      const forListening = await open()
      const heard = new Map<string, number>()
      for (const channel of await forListening.canaries(canaryName)) {
        heard.set(channel, 0)
        await forListening.subscribe(channel, () => heard.set(channel, Date.now()))
      }
      for (const channel of listened) await forListening.subscribe(channel, onMessage)
      if (closed) throw new Error('closed meanwhile')
      for (const channel of heard.keys()) heard.set(channel, Date.now())
      canaries = heard
      publisher = forPublishing
      subscriber = forListening
      if (away) log.info('live events travel between instances again')
      away = false
      handlers.onDoubt()
    } catch (error) {
      for (const line of made) line.destroy()
      if (!away && !closed)
        log.warn('live events do not travel between instances until Redis is back', { error })
      away = true
    } finally {
      building = false
    }
  }

  /** At once: until the canary is missed, events would come late. Who only listens takes no publisher along. */
  const replace = (broken: RedisLine): void => {
    if (broken === publisher) dispose()
    else if (broken === subscriber) subscriber = null
    else return
    broken.destroy()
    void build()
  }

  const watch = async (): Promise<void> => {
    if (closed || building) return
    const to = publisher
    const silent = [...canaries.values()].some((heardAt) => Date.now() - heardAt > silenceMs)
    if (to && subscriber && !silent) {
      await Promise.all([...canaries.keys()].map((channel) => to.publish(channel, ''))).catch(() =>
        replace(to),
      )
    } else {
      dispose()
      await build()
    }
  }

  const timer = setInterval(() => void watch(), canaryMs)
  const first = build()

  return {
    publish(list, events, requestId = null) {
      const text = JSON.stringify({ list, events, requestId } satisfies Message)
      // A lost publish is healed from the database by whoever should have heard it.
      const to = publisher
      to?.publish(prefix + topicOf(list), text).catch(() => replace(to))
    },
    async listen(list) {
      const channel = prefix + topicOf(list)
      listened.add(channel)
      // While the connection is away, build() will listen to it; until then the stream is compared with the database.
      const on = subscriber
      const listening = building ? first : on?.subscribe(channel, onMessage).catch(() => replace(on))
      await Promise.race([listening, Bun.sleep(listenPatienceMs)])
    },
    unlisten(list) {
      const channel = prefix + topicOf(list)
      listened.delete(channel)
      // With its listener named, the client knows that the channel must be asked for anew by a listen right after this.
      const on = subscriber
      on?.unsubscribe(channel, onMessage).catch(() => replace(on))
    },
    async close() {
      closed = true
      clearInterval(timer)
      await first
      dispose()
    },
  }
}
