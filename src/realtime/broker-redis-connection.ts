/** One connection for pub/sub, to a single Redis or to a cluster, where every channel is a sharded one. */
import { createClient, createCluster } from 'redis'
import { accessOf, isCluster } from '../store/redis-cluster.ts'

type Listener = (text: string) => void

export interface RedisLine {
  publish(channel: string, text: string): Promise<unknown>
  subscribe(channel: string, listener: Listener): Promise<unknown>
  unsubscribe(channel: string, listener: Listener): Promise<unknown>
  /** Channels that between them pass through every server. */
  canaries(name: string): Promise<string[]>
  /** Called once anything is not as it was; a line is then replaced, not mended. */
  onFault(fault: () => void): void
  destroy(): void
}

const connectTimeoutMs = 2000
/** Commands that wait for a Redis that does not answer; past them it counts as gone. */
const maxWaitingCommands = 5000
/** So many names are tried for one in every server's slots. */
const canaryTries = 20_000
/** The driver's event: a server that left the cluster had channels. */
const lostListeners = '__resubscribeListeners'

/** @throws Error when Redis cannot be reached */
export async function openLine(url: string): Promise<RedisLine> {
  const client = createClient({ url, ...settings() })
  // Without a listener an error would end the process; what follows from it is the broker's business.
  client.on('error', () => undefined)
  await client.connect()
  try {
    if (await isCluster(client)) {
      client.destroy()
      return await openClusterLine(url)
    }
  } catch (error) {
    if (client.isOpen) client.destroy()
    throw error
  }
  return {
    publish: (channel, text) => client.publish(channel, text),
    subscribe: (channel, listener) => client.subscribe(channel, listener),
    unsubscribe: (channel, listener) => client.unsubscribe(channel, listener),
    canaries: async (name) => [name],
    onFault: (fault) => void client.on('error', fault),
    destroy: () => client.destroy(),
  }
}

// Reconnecting is the broker's business, so that it can tell the streams.
const settings = () => ({
  disableOfflineQueue: true,
  commandsQueueMaxLength: maxWaitingCommands,
  pingInterval: 1000,
  socket: { connectTimeout: connectTimeoutMs, socketTimeout: 3000, reconnectStrategy: false as const },
})

async function openClusterLine(url: string): Promise<RedisLine> {
  const { tls, ...login } = accessOf(url)
  const { socket, ...rest } = settings()
  const cluster = createCluster({
    rootNodes: [{ url }],
    minimizeConnections: true,
    defaults: { ...login, ...rest, socket: { ...socket, ...tls } },
  })
  let fault = (): void => undefined
  const faults = ['error', 'node-error', 'sharded-channel-moved-error', lostListeners]
  for (const name of faults) cluster.on(name, () => fault())
  const [drivers] = cluster.listeners(lostListeners)
  // The driver's own way of listening again leaves its errors to nobody, which ends the process.
  if (drivers) cluster.off(lostListeners, drivers as () => void)
  await cluster.connect()
  const watched = new WeakSet<object>()
  return {
    publish: (channel, text) => cluster.sPublish(channel, text),
    async subscribe(channel, listener) {
      await cluster.sSubscribe(channel, listener)
      for (const { pubSub } of cluster.masters) {
        if (!pubSub || watched.has(pubSub.client)) continue
        watched.add(pubSub.client)
        // The driver goes after a slot that moved, but nobody heard what was said meanwhile.
        pubSub.client.on('sharded-channel-moved', () => fault())
      }
    },
    unsubscribe: (channel, listener) => cluster.sUnsubscribe(channel, listener),
    /** They also keep each server's connection in use, which the driver would close after its last list. */
    async canaries(name) {
      const found = new Map<object, string>()
      for (let count = 0; found.size < cluster.masters.length && count < canaryTries; count++) {
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
