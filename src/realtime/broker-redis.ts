/**
 * The broker between instances: one Redis channel per list, subscribed to only while somebody here follows the list.
 *
 * Redis forgets what nobody listens to, may lose messages while a client reconnects, and a subscription can go silent
 * without an error (open bugs of Bun and node-redis). So each instance sends itself a message every second, a canary:
 * when it stops coming back, both connections are replaced. After every connect the streams reconcile with the
 * database. In a cluster channels are sharded, a channel lives on the server that owns its slot, and each server has a
 * canary of its own.
 */

import pTimeout from 'p-timeout'
import { createClient, createCluster } from 'redis'
import type { Installation } from '../db/installation.ts'
import type { ListKey } from '../features/list-changes/events.ts'
import type { Logger } from '../log.ts'
import { isErrorReply } from '../store/redis.ts'
import { accessOf, isCluster } from '../store/redis-cluster.ts'
import { type Broker, type BrokerHandlers, type BrokerState, topicOf } from './broker.ts'
import { type MessageKeys, messageText, readMessage, seal, unseal } from './broker-messages.ts'
import { hintIn, olderChannelOf, olderText } from './broker-upgrade.ts'

const canaryMs = 1000
/** Without its canary for this long, a connection counts as dead. */
const silenceMs = 3500
const listenTimeoutMs = 1000
const repeatLogMs = 60_000

export interface RedisBrokerOptions {
  readonly url: string
  readonly installation: Installation
  readonly keys: MessageKeys
  readonly log: Logger
}

type Receive = (text: string, channel: string) => void

export function createRedisBroker(options: RedisBrokerOptions, handlers: BrokerHandlers): Broker {
  const { url, installation, keys, log } = options
  const prefix = `minimart:${installation.name}:`
  const channels = new Map<string, Receive>()
  const { receive, dropped } = createReceiver(keys, handlers, log)
  const link = createLink({ url, prefix, log, channels, onReconnect: handlers.onReconnect })
  const receiveHint: Receive = (text) => {
    const list = hintIn(text)
    if (list) handlers.onHint(list)
  }
  const channelsOf = (list: ListKey): [string, Receive][] => [
    [prefix + topicOf(list), receive],
    ...(installation.isUpgraded ? ([[olderChannelOf(list), receiveHint]] as [string, Receive][]) : []),
  ]
  return {
    publish(list, events, requestId = null) {
      const message = { list, events: [...events], requestId }
      const channel = prefix + topicOf(list)
      void link.publish(channel, seal(keys, channel, messageText(message)))
      if (installation.isUpgraded) void link.publish(olderChannelOf(list), olderText(message))
    },
    async listen(list) {
      const own = channelsOf(list)
      for (const [channel, receiver] of own) channels.set(channel, receiver)
      const subscribed = Promise.all(own.map(([channel, receiver]) => link.subscribe(channel, receiver)))
      // Without Redis the stream goes by the database until the link is up and has subscribed to all channels.
      await pTimeout(subscribed, { milliseconds: listenTimeoutMs, fallback: () => undefined })
    },
    unlisten(list) {
      for (const [channel, receiver] of channelsOf(list)) {
        channels.delete(channel)
        link.unsubscribe(channel, receiver)
      }
    },
    dropped,
    state: link.state,
    close: link.close,
  }
}

/** Of what arrives on our channels, passes on what an instance of this installation sent. */
function createReceiver(keys: MessageKeys, { onEvents }: BrokerHandlers, log: Logger) {
  let dropped = 0
  let notLogged = 0
  let loggedAt = Number.NEGATIVE_INFINITY
  const receive: Receive = (sealed, channel) => {
    const text = unseal(keys, channel, sealed)
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
    notLogged++
    if (performance.now() - loggedAt < repeatLogMs) return
    log.warn(text === null ? forgedMessage : unreadableMessage, { dropped: notLogged })
    notLogged = 0
    loggedAt = performance.now()
  }
  return { receive, dropped: () => dropped }
}

const forgedMessage =
  'dropped messages from Redis that no instance with this JWT_SECRET_KEY sent; events are read from the database'
const unreadableMessage =
  'dropped malformed or newer messages from Redis; events are read from the database. Run one release on all instances'

interface LinkOptions {
  url: string
  /** Of the canaries' channels. */
  prefix: string
  log: Logger
  /** What every new connection subscribes to. */
  channels: ReadonlyMap<string, Receive>
  onReconnect: () => void
}

/** The two connections of an instance, replaced as soon as one fails or goes silent. */
function createLink(options: LinkOptions) {
  const canary = { name: `${options.prefix}canary:${crypto.randomUUID()}`, text: crypto.randomUUID() }
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
      const pair = await openPair(options.url, canary, publisher, replace)
      publisher = pair.publisher
      subscriber = pair.subscriber
      await subscribeAll(pair.subscriber, options)
      // May be refused where subscribing is not.
      for (const channel of pair.subscriber.canaries.keys())
        await pair.publisher.publish(channel, canary.text)
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
      await Promise.all(canaries.map(([channel]) => publish(channel, canary.text)))
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
    async subscribe(channel: string, receive: Receive): Promise<void> {
      const on = subscriber?.connection
      if (on) await on.subscribe(channel, receive).catch(() => replace(on))
      else await firstConnect
    },
    unsubscribe(channel: string, receive: Receive): void {
      const on = subscriber?.connection
      // Unless the listener is named, node-redis takes a subscribe that follows for a repetition.
      on?.unsubscribe(channel, receive).catch(() => replace(on))
    },
    async close(): Promise<void> {
      closed = true
      clearInterval(timer)
      await firstConnect
      disconnect()
    },
  }
}

async function subscribeAll({ connection, canaries }: Subscriber, { channels }: LinkOptions): Promise<void> {
  for (const [channel, receive] of channels) await connection.subscribe(channel, receive)
  for (const channel of canaries.keys()) canaries.set(channel, performance.now())
}

const outageMessage =
  'Redis relays no live events between instances; until it is back they are read from the database, seconds later'

interface Subscriber {
  connection: RedisConnection
  /** When each canary was last received, by performance.now(). */
  canaries: Map<string, number>
}

/** Channels are public, so a canary counts only with this text. */
interface Canary {
  name: string
  text: string
}

/**
 * Opens a subscriber, and a publisher unless there is one.
 * @throws Error when Redis cannot be reached; then nothing stays open
 */
async function openPair(
  url: string,
  canary: Canary,
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
    for (const channel of await connection.canaryChannels(canary.name)) {
      canaries.set(channel, performance.now())
      await connection.subscribe(channel, (text) => {
        if (text === canary.text) canaries.set(channel, performance.now())
      })
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
