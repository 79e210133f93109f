/**
 * The broker between instances: one Redis channel per list, subscribed to only while somebody here follows the list.
 *
 * Redis forgets what nobody listens to, may lose messages while a client reconnects, and a subscription can go silent
 * without an error (open bugs of Bun and node-redis). So each instance sends itself a message every second, a canary:
 * when it stops coming back, both connections are replaced. After every connect the streams reconcile with the
 * database. In a cluster channels are sharded, a channel lives on the server that owns its slot, and each server has a
 * canary of its own.
 */

import { Type } from '@sinclair/typebox'
import pTimeout from 'p-timeout'
import { createClient, createCluster } from 'redis'
import { jsonReader } from '../lib/json.ts'
import type { Logger } from '../log.ts'
import { isErrorReply } from '../store/redis.ts'
import { accessOf, isCluster } from '../store/redis-cluster.ts'
import { type Broker, type BrokerHandlers, type BrokerState, topicOf } from './broker.ts'

const prefix = 'minimart:'
const canaryMs = 1000
/** Without its canary for this long, a connection counts as dead. */
const silenceMs = 3500
const listenTimeoutMs = 1000
const repeatLogMs = 60_000

/**
 * Releases of a rolling upgrade read each other's messages: fields may be added, as unknown ones are ignored; a change
 * that older releases would misread takes a new version. The first release sent none.
 */
const messageVersion = 1
const readMessage = jsonReader(
  Type.Object({
    version: Type.Optional(Type.Literal(messageVersion)),
    list: Type.Object({ tenantId: Type.String(), listId: Type.String() }),
    events: Type.Array(
      Type.Object({
        seq: Type.Integer({ minimum: 1 }),
        type: Type.String(),
        userId: Type.Union([Type.String(), Type.Null()]),
        text: Type.String(),
      }),
    ),
    requestId: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  }),
)

type Receive = (text: string) => void

export function createRedisBroker(
  { url, log }: { url: string; log: Logger },
  handlers: BrokerHandlers,
): Broker {
  const channels = new Set<string>()
  const receive = createReceiver(handlers, log)
  const link = createLink({ url, log, channels, receive, onReconnect: handlers.onReconnect })
  return {
    publish(list, events, requestId = null) {
      const text = JSON.stringify({ version: messageVersion, list, events, requestId })
      void link.publish(prefix + topicOf(list), text)
    },
    async listen(list) {
      const channel = prefix + topicOf(list)
      channels.add(channel)
      // Without Redis the stream goes by the database until the link is up and has subscribed to all channels.
      await pTimeout(link.subscribe(channel), { milliseconds: listenTimeoutMs, fallback: () => undefined })
    },
    unlisten(list) {
      const channel = prefix + topicOf(list)
      channels.delete(channel)
      link.unsubscribe(channel)
    },
    state: link.state,
    close: link.close,
  }
}

function createReceiver({ onEvents }: BrokerHandlers, log: Logger): Receive {
  let dropped = 0
  let loggedAt = Number.NEGATIVE_INFINITY
  return (text) => {
    const message = readMessage(text)
    if (message) {
      // An exception here would end the process: node-redis calls this from its socket handler.
      try {
        onEvents(message.list, message.events, message.requestId ?? null)
      } catch (error) {
        log.error('events from another instance could not be delivered', { error })
      }
      return
    }
    dropped++
    if (performance.now() - loggedAt < repeatLogMs) return
    log.warn(droppedMessage, { dropped })
    dropped = 0
    loggedAt = performance.now()
  }
}

const droppedMessage =
  'dropped malformed or newer messages from Redis; events are read from the database. Run one release on all instances'

interface LinkOptions {
  url: string
  log: Logger
  /** What every new connection subscribes to. */
  channels: ReadonlySet<string>
  receive: Receive
  onReconnect: () => void
}

/** The two connections of an instance, replaced as soon as one fails or goes silent. */
function createLink(options: LinkOptions) {
  const canaryName = `${prefix}canary:${crypto.randomUUID()}`
  let publisher: RedisConnection | null = null
  let subscriber: Subscriber | null = null
  let closed = false
  let state: BrokerState = 'up'
  let connecting = false

  const disconnect = (): void => {
    publisher?.destroy()
    subscriber?.connection.destroy()
    publisher = null
    subscriber = null
  }

  const connect = async (): Promise<void> => {
    if (connecting || closed) return
    connecting = true
    try {
      const pair = await openPair(options.url, canaryName, publisher, replace)
      publisher = pair.publisher
      subscriber = pair.subscriber
      await subscribeAll(pair.subscriber, options)
      // May be refused where subscribing is not.
      for (const channel of pair.subscriber.canaries.keys()) await pair.publisher.publish(channel, '')
      if (closed) return disconnect()
      if (state !== 'up') options.log.info('Redis relays live events between instances again')
      state = 'up'
      options.onReconnect()
    } catch (error) {
      disconnect()
      if (state === 'up' && !closed) options.log.warn(outageMessage, { error })
      state = isErrorReply(error) ? 'refused' : 'down'
    } finally {
      connecting = false
    }
  }

  const replace = (broken: RedisConnection): void => {
    if (broken === publisher) disconnect()
    else if (broken === subscriber?.connection) subscriber = null
    else return
    broken.destroy()
    void connect()
  }

  /** Resolves in any case: what is lost here is read from the database by the streams that miss it. */
  const publish = async (channel: string, text: string): Promise<void> => {
    const to = publisher
    await to?.publish(channel, text).catch(() => replace(to))
  }

  const checkCanaries = async (): Promise<void> => {
    if (connecting) return
    const canaries = [...(subscriber?.canaries ?? [])]
    if (publisher && subscriber && canaries.every(([, seenAt]) => performance.now() - seenAt <= silenceMs))
      await Promise.all(canaries.map(([channel]) => publish(channel, '')))
    else {
      disconnect()
      await connect()
    }
  }

  const timer = setInterval(() => void checkCanaries(), canaryMs)
  const firstConnect = connect()

  return {
    publish,
    state: (): BrokerState => state,
    async subscribe(channel: string): Promise<void> {
      const on = subscriber?.connection
      if (on) await on.subscribe(channel, options.receive).catch(() => replace(on))
      else await firstConnect
    },
    unsubscribe(channel: string): void {
      const on = subscriber?.connection
      // Unless the listener is named, node-redis takes a subscribe that follows for a repetition.
      on?.unsubscribe(channel, options.receive).catch(() => replace(on))
    },
    async close(): Promise<void> {
      closed = true
      clearInterval(timer)
      await firstConnect
      disconnect()
    },
  }
}

async function subscribeAll(
  { connection, canaries }: Subscriber,
  { channels, receive }: LinkOptions,
): Promise<void> {
  for (const channel of channels) await connection.subscribe(channel, receive)
  for (const channel of canaries.keys()) canaries.set(channel, performance.now())
}

const outageMessage =
  'Redis relays no live events between instances; until it is back they are read from the database, seconds later'

interface Subscriber {
  connection: RedisConnection
  /** When each canary was last received, by performance.now(). */
  canaries: Map<string, number>
}

/**
 * Opens a subscriber, and a publisher unless there is one.
 * @throws Error when Redis cannot be reached; then nothing stays open
 */
async function openPair(
  url: string,
  canaryName: string,
  publisher: RedisConnection | null,
  onFault: (connection: RedisConnection) => void,
): Promise<{ publisher: RedisConnection; subscriber: Subscriber }> {
  const opened: RedisConnection[] = []
  const open = async (): Promise<RedisConnection> => {
    const connection = await openConnection(url)
    connection.onFault(() => onFault(connection))
    opened.push(connection)
    return connection
  }
  try {
    const publishing = publisher ?? (await open())
    const connection = await open()
    const canaries = new Map<string, number>()
    for (const channel of await connection.canaryChannels(canaryName)) {
      canaries.set(channel, performance.now())
      await connection.subscribe(channel, () => canaries.set(channel, performance.now()))
    }
    return { publisher: publishing, subscriber: { connection, canaries } }
  } catch (error) {
    for (const connection of opened) connection.destroy()
    throw error
  }
}

/** To a single Redis or to a cluster. */
interface RedisConnection {
  publish(channel: string, text: string): Promise<unknown>
  subscribe(channel: string, receive: Receive): Promise<unknown>
  unsubscribe(channel: string, receive: Receive): Promise<unknown>
  /** Channels that together cover every server. */
  canaryChannels(name: string): Promise<string[]>
  /** Called when the connection is to be replaced. */
  onFault(fault: () => void): void
  destroy(): void
}

const connectTimeoutMs = 2000
/** Commands kept while Redis does not answer; beyond them the connection has failed. */
const maxWaitingCommands = 5000
/** Names tried to find one in the slots of every server. */
const maxCanaryNames = 20_000
/** Undocumented event of node-redis: a server with subscriptions left the cluster. */
const resubscribeEvent = '__resubscribeListeners'

/** @throws Error when Redis cannot be reached */
async function openConnection(url: string): Promise<RedisConnection> {
  const client = createClient({ url, ...clientOptions })
  // node-redis ends the process without a listener; the link takes its own with onFault.
  client.on('error', () => undefined)
  await client.connect()
  try {
    if (await isCluster(client)) {
      client.destroy()
      return await openClusterConnection(url)
    }
  } catch (error) {
    if (client.isOpen) client.destroy()
    throw error
  }
  return {
    publish: (channel, text) => client.publish(channel, text),
    subscribe: (channel, receive) => client.subscribe(channel, receive),
    unsubscribe: (channel, receive) => client.unsubscribe(channel, receive),
    canaryChannels: async (name) => [name],
    onFault: (fault) => void client.on('error', fault),
    destroy: () => client.destroy(),
  }
}

const clientOptions = {
  disableOfflineQueue: true,
  commandsQueueMaxLength: maxWaitingCommands,
  pingInterval: 1000,
  // The link reconnects, so that streams reconcile after it.
  socket: { connectTimeout: connectTimeoutMs, socketTimeout: 3000, reconnectStrategy: false as const },
}

async function openClusterConnection(url: string): Promise<RedisConnection> {
  const { tls, ...login } = accessOf(url)
  const { socket, ...options } = clientOptions
  const cluster = createCluster({
    rootNodes: [{ url }],
    minimizeConnections: true,
    defaults: { ...login, ...options, socket: { ...socket, ...tls } },
  })
  let fault = (): void => undefined
  // node-redis resubscribes by itself, and ends the process when that fails.
  cluster.removeAllListeners(resubscribeEvent)
  for (const event of ['error', 'node-error', 'sharded-channel-moved-error', resubscribeEvent])
    cluster.on(event, () => fault())
  await cluster.connect()
  const watched = new WeakSet<object>()
  return {
    publish: (channel, text) => cluster.sPublish(channel, text),
    async subscribe(channel, receive) {
      await cluster.sSubscribe(channel, receive)
      for (const { pubSub } of cluster.masters) {
        if (!pubSub || watched.has(pubSub.client)) continue
        watched.add(pubSub.client)
        // node-redis follows the slot, but messages sent in between are lost.
        pubSub.client.on('sharded-channel-moved', () => fault())
      }
    },
    unsubscribe: (channel, receive) => cluster.sUnsubscribe(channel, receive),
    // A canary also keeps a server's connection open, which node-redis would close after its last list.
    async canaryChannels(name) {
      const found = new Map<object, string>()
      for (let count = 0; found.size < cluster.masters.length && count < maxCanaryNames; count++) {
        const channel = `${name}:${count}`
        const server = await cluster.getNodeClientForKey(channel)
        if (!found.has(server)) found.set(server, channel)
      }
      return [...found.values()]
    },
    onFault: (listener) => {
      fault = listener
    },
    destroy: () => cluster.destroy(),
  }
}
