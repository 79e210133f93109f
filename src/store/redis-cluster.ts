/** What is particular to a Redis Cluster: how it is recognised, and how a client of one is set up. */
import { createCluster, ErrorReply } from 'redis'
import { compareAndSet, countUp, pour } from './redis-scripts.ts'

interface Informant {
  info(section: string): Promise<unknown>
}

/** A server that does not let us ask counts as a single one. */
export async function isCluster(client: Informant): Promise<boolean> {
  try {
    return /^cluster_enabled:1\b/m.test(String(await client.info('cluster')))
  } catch (error) {
    if (error instanceof ErrorReply) return false
    throw error
  }
}

/** Of the URL, only the address is meant for one server; the rest goes for each that the cluster has. */
export function accessOf(url: string) {
  const { username, password, protocol } = new URL(url)
  return {
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
    tls: protocol === 'rediss:' ? ({ tls: true } as const) : {},
  }
}

export interface StoreClusterOptions {
  url: string
  keyPrefix: string
  sendDeadlineMs: number
  maxWaitingCommands: number
  reconnectDelayMs: (retries: number) => number
}

export type StoreCluster = ReturnType<typeof createStoreCluster>

export function createStoreCluster(options: StoreClusterOptions) {
  const { tls, ...login } = accessOf(options.url)
  return createCluster({
    rootNodes: [{ url: options.url }],
    keyPrefix: options.keyPrefix,
    scripts: { compareAndSet, countUp, pour },
    commandOptions: { timeout: options.sendDeadlineMs },
    // Otherwise one server that is away would hold up the beginning for all.
    minimizeConnections: true,
    topologyRefreshOnReconnectionAttemptStrategy: 1000,
    defaults: {
      ...login,
      commandsQueueMaxLength: options.maxWaitingCommands,
      pingInterval: 1000,
      socket: {
        ...tls,
        socketTimeout: 3000,
        connectTimeout: 2000,
        reconnectStrategy: options.reconnectDelayMs,
      },
    },
  })
}

/**
 * Waits for the connection to the server that has the key, so that a command whose caller has given up is never sent
 * once that server is back. Answers its address.
 * @throws Error when it is not there in time
 */
export async function reach(cluster: StoreCluster, key: string, deadlineMs: number): Promise<string> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => reject(new Error(`no connection to the cluster in ${deadlineMs} ms`)),
    deadlineMs,
  )
  try {
    const client = await Promise.race([cluster.getNodeClientForKey(key), late])
    return cluster.masters.find((master) => master.client === client)?.address ?? ''
  } finally {
    clearTimeout(timer)
  }
}
