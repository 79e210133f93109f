/**
 * The store in Redis; only here is the driver known. While Redis is unavailable, calls fail with `redis_unavailable`:
 * within two seconds, immediately when the outage has lasted longer. The connection recovers by itself.
 */
import pTimeout from 'p-timeout'
import { createClient, ErrorReply } from 'redis'
import type { Installation } from '../db/installation.ts'
import { AppError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { SharedBuckets } from './rate-limiter.ts'
import { connectedNode, createStoreCluster, isCluster, type StoreCluster } from './redis-cluster.ts'
import { scripts } from './redis-scripts.ts'
import { createSilenceWatch, type Reconnectable } from './redis-silence.ts'
import { upgradeScripts } from './redis-upgrade.ts'
import type { Store } from './store.ts'
import { createUnfitReports, type ReportUnfit } from './stored-json.ts'

export interface RedisStoreOptions {
  readonly url: string
  readonly installation: Installation
  readonly log: Logger
}

export interface RedisStore extends Store {
  readonly buckets: SharedBuckets
  /** Outages that have ended since the start. */
  reconnects(): number
}

/** A command not sent by then is withdrawn; one not answered by then is given up, and may have run. */
const sendTimeoutMs = 1500
const answerTimeoutMs = 2000
/** Shorter, for every request waits for its rate limit. */
const bucketTimeoutMs = 500
const repeatLogEveryMs = 60_000
const maxQueuedCommands = 10_000
/** In place of a node's address where there is no cluster. */
const singleServer = 'server'

/**
 * Waits up to two seconds for the first connection, and keeps trying after that. Whether the URL leads to a single
 * server or a cluster is found out once it answers.
 * @throws TypeError when the URL is not a Redis URL
 */
export async function openRedisStore({ url, installation, log }: RedisStoreOptions): Promise<RedisStore> {
  const client = createStoreClient(url)
  const outages = trackOutages(log)
  const reportUnfit = createUnfitReports(log)
  client.on('error', (error: unknown) => outages.begin(singleServer, error))
  client.on('ready', () => outages.end(singleServer))
  let cluster: StoreCluster | null = null

  const connect = async (): Promise<void> => {
    await client.connect()
    cluster = await openIfCluster(client, url, outages)
    if (cluster === null) return
    client.destroy()
    outages.end(singleServer)
    log.info('Redis is a cluster')
  }
  const connected = connect().catch((error: unknown) => {
    if (!outages.isClosed()) log.error('the connection to Redis was given up', { error })
  })
  await pTimeout(connected, { milliseconds: answerTimeoutMs, message: false })

  const singleTarget: Target = { to: client, node: { address: singleServer, client } }
  const call = createCalls(installation, outages, async (name, timeoutMs) =>
    cluster === null ? singleTarget : { to: cluster, node: await connectedNode(cluster, name, timeoutMs) },
  )
  return {
    ...(installation.isUpgraded ? upgradedCommands : storeCommands)(call, reportUnfit),
    close: async () => {
      outages.close()
      cluster?.destroy()
      if (client.isReady)
        await pTimeout(client.close(), { milliseconds: 1000, message: false }).catch(() => undefined)
      if (client.isOpen) client.destroy()
    },
    reconnects: outages.ended,
    buckets: {
      async take(key, { count, windowSeconds }, tokens = 1) {
        const { isUnfit, ...taken } = await call(
          `limit:${key}`,
          (to, name) => to.takeTokens(name, count, windowSeconds * 1000, tokens),
          bucketTimeoutMs,
        )
        if (isUnfit) reportUnfit('rate limit')
        return taken
      },
    },
  }
}

type Client = ReturnType<typeof createStoreClient>

/** @param command gets the key's name in Redis */
type Call = <T>(
  key: string,
  command: (to: Client | StoreCluster, name: string) => Promise<T>,
  timeoutMs?: number,
) => Promise<T>

/** Where a command goes: in a cluster to the node that owns its key. */
interface Target {
  to: Client | StoreCluster
  node: { address: string; client: Reconnectable }
}

/** @param targetFor resolves once a command for the key of that name can be sent, and rejects after the timeout at the latest */
function createCalls(
  installation: Installation,
  outages: Outages,
  targetFor: (name: string, timeoutMs: number) => Promise<Target>,
): Call {
  const watched = createSilenceWatch()
  const send = async <T>(
    key: string,
    command: (to: Target['to'], name: string) => Promise<T>,
    timeoutMs: number,
  ): Promise<T> => {
    const name = nameOf(installation, key)
    const sendMs = Math.min(timeoutMs, sendTimeoutMs)
    const { to, node } = await targetFor(name, sendMs)
    if (outages.isOlderThan(sendMs, node.address)) throw new Error('Redis has been unavailable for longer')
    const onSilent = (error: Error): void => outages.begin(node.address, error)
    return await watched(node.client, () => command(to, name), onSilent)
  }
  return async (key, command, timeoutMs = answerTimeoutMs) => {
    try {
      return await pTimeout(send(key, command, timeoutMs), {
        milliseconds: timeoutMs,
        message: `Redis did not answer within ${timeoutMs} ms`,
      })
    } catch (error) {
      throw isFault(error) ? error : unavailable(error)
    }
  }
}

/**
 * Below the installation's name. By the braces a cluster puts it into the slot of the key that earlier releases have for
 * it, as long as that has none of its own.
 */
const nameOf = (installation: Installation, key: string): string =>
  `minimart:${installation.name}:{minimart:${key}}`

type Commands = Omit<Store, 'close'>

const storeCommands = (call: Call, reportUnfit: ReportUnfit): Commands => ({
  async get(key) {
    try {
      return await call(key, (to, name) => to.get(name))
    } catch (error) {
      if (!(isErrorReply(error) && error.message.startsWith('WRONGTYPE'))) throw error
      reportUnfit('value')
      return null
    }
  },
  set: async (key, value, ttlSeconds) => {
    const expiration = { type: 'PX', value: toMs(ttlSeconds) } as const
    await call(key, (to, name) => to.set(name, value, { expiration }))
  },
  delete: async (key) => (await call(key, (to, name) => to.del(name))) === 1,
  async compareAndSet(key, expected, next, ttlSeconds) {
    const ttl = ttlMs(next, ttlSeconds)
    const { done, isUnfit } = await call(key, (to, name) => to.compareAndSet(name, expected, next, ttl))
    if (isUnfit) reportUnfit('value')
    return done
  },
  async increment(key, ttlSeconds) {
    const { isUnfit, ...counted } = await call(key, (to, name) => to.incrementWithTtl(name, toMs(ttlSeconds)))
    if (isUnfit) reportUnfit('counter')
    return counted
  },
  ping: async () => {
    await call(probeKey, (to, name) => to.set(name, '', { condition: 'XX', expiration: probeExpiration }))
  },
})

const upgradedCommands = (call: Call, reportUnfit: ReportUnfit): Commands => ({
  ...storeCommands(call, reportUnfit),
  async get(key) {
    const { value, isUnfit } = await call(key, (to, name) => to.getBeside(name, key))
    if (isUnfit) reportUnfit('value')
    return value
  },
  set: (key, value, ttlSeconds) => call(key, (to, name) => to.setBeside(name, key, value, toMs(ttlSeconds))),
  delete: (key) => call(key, (to, name) => to.deleteBeside(name, key)),
  async compareAndSet(key, expected, next, ttlSeconds) {
    const ttl = ttlMs(next, ttlSeconds)
    const { done, isUnfit } = await call(key, (to, name) =>
      to.compareAndSetBeside(name, key, expected, next, ttl),
    )
    if (isUnfit) reportUnfit('value')
    return done
  },
  async increment(key, ttlSeconds) {
    const { isUnfit, ...counted } = await call(key, (to, name) =>
      to.incrementBeside(name, key, toMs(ttlSeconds)),
    )
    if (isUnfit) reportUnfit('counter')
    return counted
  },
})

const ttlMs = (next: string | null, ttlSeconds: number): number => (next === null ? 0 : toMs(ttlSeconds))

/** Writes nothing, as there is no such key; but a server that is full or takes no writes refuses it like any write. */
const probeKey = 'probe'
const probeExpiration = { type: 'PX', value: 1 } as const

const toMs = (seconds: number): number => Math.ceil(seconds * 1000)

function createStoreClient(url: string) {
  return createClient({
    url,
    scripts: { ...scripts, ...upgradeScripts },
    commandOptions: { timeout: sendTimeoutMs },
    commandsQueueMaxLength: maxQueuedCommands,
    // Together they detect a half-open connection.
    pingInterval: 1000,
    socket: { socketTimeout: 3000, connectTimeout: 2000, reconnectStrategy: reconnectDelayMs },
  })
}

/** Exponential from 50 ms to 2 s, with jitter between half and whole, so that instances do not reconnect in step. */
const reconnectDelayMs = (retries: number): number =>
  Math.min(2000, 50 * 2 ** Math.min(retries, 10)) * (0.5 + Math.random() / 2)

/**
 * Tries until it is known; resolves to a cluster once its topology has been read, and to null for a single server. Not
 * with p-retry, which gives up on TypeErrors: this must go on whatever the driver throws.
 */
async function openIfCluster(client: Client, url: string, outages: Outages): Promise<StoreCluster | null> {
  for (let retries = 0; !outages.isClosed(); retries++) {
    try {
      if (!(await isCluster(client))) return null
      const options = { url, sendTimeoutMs, maxQueuedCommands, reconnectDelayMs }
      const cluster = createStoreCluster(options)
      cluster.on('error', (error: unknown) => outages.report(error))
      cluster.on('node-error', (error: unknown, node: Node) => outages.begin(addressOf(node), error))
      cluster.on('node-ready', (node: Node) => outages.end(addressOf(node)))
      // It left the cluster or was replaced.
      cluster.on('node-disconnect', (node: Node) => outages.end(addressOf(node)))
      await cluster.connect()
      if (!outages.isClosed()) return cluster
      cluster.destroy()
    } catch (error) {
      outages.report(error)
      await Bun.sleep(reconnectDelayMs(retries))
    }
  }
  return null
}

interface Node {
  host: string
  port: number
}

const addressOf = ({ host, port }: Node): string => `${host}:${port}`

type Outages = ReturnType<typeof trackOutages>

/** Knows which nodes have been unavailable for how long; logs an outage when it begins, every minute, and when it ends. */
function trackOutages(log: Logger) {
  const sinceByNode = new Map<string, number>()
  let begunAt = 0
  let loggedAt = 0
  let isClosed = false
  let ended = 0
  const report = (error: unknown): void => {
    const now = performance.now()
    if (isClosed || (loggedAt > 0 && now - loggedAt < repeatLogEveryMs)) return
    loggedAt = now
    const seconds = sinceByNode.size === 0 ? 0 : Math.round((now - begunAt) / 1000)
    log.error('Redis is unavailable', { error: isFault(error) ? error : unavailable(error), seconds })
  }
  return {
    begin: (node: string, error: unknown): void => {
      if (sinceByNode.size === 0) begunAt = performance.now()
      if (!sinceByNode.has(node)) sinceByNode.set(node, performance.now())
      report(error)
    },
    report,
    end: (node: string): void => {
      if (sinceByNode.delete(node) && sinceByNode.size === 0 && !isClosed) {
        ended++
        log.info('Redis is available again', { seconds: Math.round((performance.now() - begunAt) / 1000) })
      }
      if (sinceByNode.size === 0) loggedAt = 0
    },
    isOlderThan: (ms: number, node: string): boolean =>
      performance.now() - (sinceByNode.get(node) ?? Number.POSITIVE_INFINITY) > ms,
    ended: (): number => ended,
    isClosed: (): boolean => isClosed,
    close: (): void => {
      isClosed = true
    },
  }
}

const unavailable = (cause?: unknown): AppError =>
  new AppError('redis_unavailable', 'Redis cannot be reached at the moment.', { retryAfterSeconds: 2, cause })

/** Passing states of a server. Any other error reply is a bug. */
const transient =
  /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|MOVED|ASK|TRYAGAIN|NOREPLICAS|BUSY|OOM|MISCONF|NOAUTH|WRONGPASS)\b/

/** Whether the server answered with an error. */
export const isErrorReply = (error: unknown): error is ErrorReply => error instanceof ErrorReply

/** Why a server that answers refused to write; null where that is not the cause. */
export function writeRefusal(error: unknown): 'full' | 'read_only' | null {
  const reply = error instanceof AppError ? error.extras.cause : error
  if (!isErrorReply(reply)) return null
  return /^OOM\b/.test(reply.message)
    ? 'full'
    : /^(READONLY|MISCONF|NOPERM)\b/.test(reply.message)
      ? 'read_only'
      : null
}

const isFault = (error: unknown): boolean => isErrorReply(error) && !transient.test(error.message)
