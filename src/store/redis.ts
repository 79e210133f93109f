/**
 * The store in Redis. Only here is the driver known. While Redis is away, calls fail with `redis_unavailable` within
 * two seconds, at once when the outage is older than that, and the connection comes back by itself.
 */
import { createClient, ErrorReply } from 'redis'
import { AppError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { SharedBuckets } from './rate-limiter.ts'
import { createStoreCluster, isCluster, reach, type StoreCluster } from './redis-cluster.ts'
import { compareAndSet, countUp, pour } from './redis-scripts.ts'
import type { Store } from './store.ts'

export interface RedisStore extends Store {
  readonly buckets: SharedBuckets
  /** Outages that have ended since the start. */
  reconnects(): number
}

/** A command not sent by then is taken back; one not answered by then is given up, and may have happened. */
const sendDeadlineMs = 1500
const answerDeadlineMs = 2000
/** A limit is checked at every request, so it waits less. */
const bucketDeadlineMs = 500
const repeatLogEveryMs = 60_000
const maxWaitingCommands = 10_000
const keyPrefix = 'minimart:'
/** Stands for the server where there is no cluster. */
const theServer = 'the server'

/**
 * Waits up to two seconds for the first connection and goes on trying after that. What the URL leads to, one server or
 * a cluster, is asked once it answers.
 * @throws TypeError when the URL is none of Redis.
 */
export async function openRedisStore({ url, log }: { url: string; log: Logger }): Promise<RedisStore> {
  const client = connect(url)
  const outage = watch(log)
  client.on('error', (error: unknown) => outage.begin(theServer, error))
  client.on('ready', () => outage.end(theServer))
  let cluster: StoreCluster | null = null

  const begin = async (): Promise<void> => {
    await client.connect()
    const found = await openIfCluster(client, url, outage)
    if (found === null) return
    cluster = found
    client.destroy()
    outage.end(theServer)
    log.info('Redis is a cluster')
  }
  const first = begin().catch((error: unknown) => {
    if (!outage.closing()) log.error('the connection to Redis was given up', { error })
  })
  await before(answerDeadlineMs, first).catch(() => undefined)

  /** Who has the key, within the deadline: a command given up by its caller must not be sent afterwards. */
  const carrierOf = async (key: string, deadlineMs: number): Promise<Client | StoreCluster> => {
    const address = cluster === null ? theServer : await reach(cluster, keyPrefix + key, deadlineMs)
    if (outage.olderThan(deadlineMs, address)) throw new Error('Redis has been away for longer')
    return cluster ?? client
  }
  const call = async <T>(
    deadlineMs: number,
    key: string,
    command: (to: Client | StoreCluster) => Promise<T>,
  ): Promise<T> => {
    try {
      return await before(
        deadlineMs,
        carrierOf(key, Math.min(deadlineMs, sendDeadlineMs)).then((to) => command(to)),
      )
    } catch (error) {
      throw isFault(error) ? error : unavailable(error)
    }
  }
  const ask = <T>(key: string, command: (to: Client | StoreCluster) => Promise<T>): Promise<T> =>
    call(answerDeadlineMs, key, command)

  return {
    get: (key) => ask(key, (to) => to.get(key)),
    set: async (key, value, ttlSeconds) => {
      const expiration = { type: 'PX', value: milliseconds(ttlSeconds) } as const
      await ask(key, (to) => to.set(key, value, { expiration }))
    },
    delete: async (key) => (await ask(key, (to) => to.del(key))) === 1,
    compareAndSet: (key, expected, next, ttlSeconds) =>
      ask(key, (to) => to.compareAndSet(key, expected, next, next === null ? 0 : milliseconds(ttlSeconds))),
    increment: (key, ttlSeconds) => ask(key, (to) => to.countUp(key, milliseconds(ttlSeconds))),
    ping: async () => {
      await ask('', (to) => to.ping())
    },
    close: async () => {
      outage.close()
      cluster?.destroy()
      if (client.isReady) await before(1000, client.close()).catch(() => undefined)
      if (client.isOpen) client.destroy()
    },
    reconnects: outage.ended,
    buckets: {
      pour: (key, { count, windowSeconds }) =>
        call(bucketDeadlineMs, `limit:${key}`, (to) => to.pour(`limit:${key}`, count, windowSeconds * 1000)),
    },
  }
}

const milliseconds = (seconds: number): number => Math.ceil(seconds * 1000)

type Client = ReturnType<typeof connect>

function connect(url: string) {
  return createClient({
    url,
    keyPrefix,
    scripts: { compareAndSet, countUp, pour },
    commandOptions: { timeout: sendDeadlineMs },
    commandsQueueMaxLength: maxWaitingCommands,
    // Together they notice a connection that died without a word.
    pingInterval: 1000,
    socket: { socketTimeout: 3000, connectTimeout: 2000, reconnectStrategy: reconnectDelayMs },
  })
}

/** Doubling from 50 ms to 2 s, at random between half and whole, so that instances do not come back in step. */
const reconnectDelayMs = (retries: number): number =>
  Math.min(2000, 50 * 2 ** Math.min(retries, 10)) * (0.5 + Math.random() / 2)

/** Tries until it is known; a cluster is given only once its layout has been read. */
async function openIfCluster(client: Client, url: string, outage: Outage): Promise<StoreCluster | null> {
  for (let tries = 0; !outage.closing(); tries++) {
    try {
      if (!(await isCluster(client))) return null
      const cluster = createStoreCluster({
        url,
        keyPrefix,
        sendDeadlineMs,
        maxWaitingCommands,
        reconnectDelayMs,
      })
      cluster.on('error', (error: unknown) => outage.tell(error))
      cluster.on('node-error', (error: unknown, node: Address) => outage.begin(addressOf(node), error))
      cluster.on('node-ready', (node: Address) => outage.end(addressOf(node)))
      // It left the cluster, or its place was given to another.
      cluster.on('node-disconnect', (node: Address) => outage.end(addressOf(node)))
      await cluster.connect()
      if (!outage.closing()) return cluster
      cluster.destroy()
    } catch (error) {
      outage.tell(error)
      await Bun.sleep(reconnectDelayMs(tries))
    }
  }
  return null
}

interface Address {
  host: string
  port: number
}

const addressOf = ({ host, port }: Address): string => `${host}:${port}`

type Outage = ReturnType<typeof watch>

/** Tells how long which server has been away, and logs an outage once, each minute, and at its end. */
function watch(log: Logger) {
  const away = new Map<string, number>()
  let begunAt = 0
  let loggedAt = 0
  let closing = false
  let ended = 0
  const tell = (error: unknown): void => {
    const now = performance.now()
    if (closing || (loggedAt > 0 && now - loggedAt < repeatLogEveryMs)) return
    loggedAt = now
    const seconds = away.size === 0 ? 0 : Math.round((now - begunAt) / 1000)
    log.error('Redis is away', { error: isFault(error) ? error : unavailable(error), seconds })
  }
  return {
    begin: (address: string, error: unknown): void => {
      if (away.size === 0) begunAt = performance.now()
      if (!away.has(address)) away.set(address, performance.now())
      tell(error)
    },
    tell,
    end: (address: string): void => {
      if (away.delete(address) && away.size === 0 && !closing) {
        ended++
        log.info('Redis is back', { seconds: Math.round((performance.now() - begunAt) / 1000) })
      }
      if (away.size === 0) loggedAt = 0
    },
    olderThan: (ms: number, address: string): boolean =>
      performance.now() - (away.get(address) ?? Number.POSITIVE_INFINITY) > ms,
    ended: (): number => ended,
    closing: (): boolean => closing,
    close: (): void => {
      closing = true
    },
  }
}

const unavailable = (cause?: unknown): AppError =>
  new AppError('redis_unavailable', 'Redis cannot be reached at the moment.', { retryAfterSeconds: 2, cause })

/** States of a server that pass; any other error it answers with is a fault of the program. */
const passing =
  /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|MOVED|ASK|TRYAGAIN|NOREPLICAS|BUSY|OOM|MISCONF|NOAUTH|WRONGPASS)\b/

/** The server answered, and the answer is an error. */
export const isRefusal = (error: unknown): boolean => error instanceof ErrorReply

const isFault = (error: unknown): boolean => error instanceof ErrorReply && !passing.test(error.message)

async function before<T>(deadlineMs: number, answer: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`Redis did not answer in ${deadlineMs} ms`)), deadlineMs)
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}
