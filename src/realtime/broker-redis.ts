/**
 * The bridge between instances: one Redis channel per list, listened to only while somebody here follows the list.
 *
 * Pub/sub forgets whatever nobody hears, may lose messages while it reconnects, and under Bun can fall silent without
 * an error. So a canary goes round every second: when it does not come back in time the connection is thrown away and
 * made anew, and every time it begins again the streams are told to look at the database.
 */
import { createClient } from 'redis'
import type { Logger } from '../log.ts'
import { type Broker, type BrokerHandlers, type ListEvent, type ListKey, topicOf } from './broker.ts'

const prefix = 'minimart:'
const canaryMs = 1000
/** So long without the canary, and the connection counts as dead. */
const silenceMs = 3500
const connectTimeoutMs = 2000
/** So long a new listener waits for Redis; without it, the database is what it goes by. */
const listenPatienceMs = 1000
/** Commands that wait for a Redis that does not answer; past them it counts as gone. */
const maxWaitingCommands = 5000

type Message = { list: ListKey; events: readonly ListEvent[] }

export function createRedisBroker(
  { url, log }: { url: string; log: Logger },
  handlers: BrokerHandlers,
): Broker {
  const canaryChannel = `${prefix}canary:${crypto.randomUUID()}`
  const listened = new Set<string>()
  let publisher: RedisClient | null = null
  let subscriber: RedisClient | null = null
  let lastCanary = Date.now()
  let closed = false
  let away = false
  let building = false

  const onMessage = (text: string): void => {
    try {
      const { list, events } = JSON.parse(text) as Message
      handlers.onEvents(list, events)
    } catch (error) {
      log.warn('a message between instances could not be read', { error })
    }
  }

  const dispose = (): void => {
    for (const client of [publisher, subscriber]) client?.destroy()
    publisher = null
    subscriber = null
  }

  const build = async (): Promise<void> => {
    if (building || closed) return
    building = true
    const made: RedisClient[] = []
    const open = async (): Promise<RedisClient> => {
      const client = await connect(url)
      client.on('error', () => replace(client))
      made.push(client)
      return client
    }
    try {
      const forPublishing = publisher ?? (await open())
      const forListening = await open()
      await forListening.subscribe(canaryChannel, () => {
        lastCanary = Date.now()
      })
      for (const channel of listened) await forListening.subscribe(channel, onMessage)
      if (closed) throw new Error('closed meanwhile')
      lastCanary = Date.now()
      publisher = forPublishing
      subscriber = forListening
      if (away) log.info('live events travel between instances again')
      away = false
      handlers.onDoubt()
    } catch (error) {
      for (const client of made) client.destroy()
      if (!away && !closed)
        log.warn('live events do not travel between instances until Redis is back', { error })
      away = true
    } finally {
      building = false
    }
  }

  /** At once: until the canary is missed, events would come late. Who only listens takes no publisher along. */
  const replace = (broken: RedisClient): void => {
    if (broken === publisher) dispose()
    else if (broken === subscriber) subscriber = null
    else return
    broken.destroy()
    void build()
  }

  const watch = async (): Promise<void> => {
    if (closed || building) return
    const to = publisher
    if (to && subscriber && Date.now() - lastCanary <= silenceMs) {
      await to.publish(canaryChannel, '').catch(() => replace(to))
    } else {
      dispose()
      await build()
    }
  }

  const timer = setInterval(() => void watch(), canaryMs)
  const first = build()

  return {
    publish(list, events) {
      const text = JSON.stringify({ list, events } satisfies Message)
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

type RedisClient = Awaited<ReturnType<typeof connect>>

async function connect(url: string) {
  const client = createClient({
    url,
    disableOfflineQueue: true,
    commandsQueueMaxLength: maxWaitingCommands,
    pingInterval: 1000,
    // Reconnecting is this file's business: a client that broke is replaced, not mended.
    socket: { connectTimeout: connectTimeoutMs, socketTimeout: 3000, reconnectStrategy: false },
  })
  // Without a listener an error would end the process; what follows from it is build's and replace's business.
  client.on('error', () => undefined)
  await client.connect()
  return client
}
