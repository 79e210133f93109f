/** What is particular to Redis Cluster: detecting it, and connecting to it. */
import pTimeout from 'p-timeout'
import { createCluster, ErrorReply } from 'redis'
import { scripts } from './redis-scripts.ts'
import { upgradeScripts } from './redis-upgrade.ts'

interface InfoClient {
  info(section: string): Promise<unknown>
}

/** A server that forbids INFO counts as a single one. */
export async function isCluster(client: InfoClient): Promise<boolean> {
  try {
    return /^cluster_enabled:1\b/m.test(String(await client.info('cluster')))
  } catch (error) {
    if (error instanceof ErrorReply) return false
    throw error
  }
}

/** Credentials and TLS of the URL, which apply to every node; node-redis takes only the address from `rootNodes`. */
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
  sendTimeoutMs: number
  maxQueuedCommands: number
  reconnectDelayMs: (retries: number) => number
}

export type StoreCluster = ReturnType<typeof createStoreCluster>

export function createStoreCluster(options: StoreClusterOptions) {
  const { tls, ...login } = accessOf(options.url)
  return createCluster({
    rootNodes: [{ url: options.url }],
    scripts: { ...scripts, ...upgradeScripts },
    commandOptions: { timeout: options.sendTimeoutMs },
    // Otherwise one node that is down would hold up connecting to all.
    minimizeConnections: true,
    topologyRefreshOnReconnectionAttemptStrategy: 1000,
    defaults: {
      ...login,
      commandsQueueMaxLength: options.maxQueuedCommands,
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
 * Waits until the node that owns `key` is connected, so that a command whose caller has timed out is not sent when the
 * node comes back.
 * @throws TimeoutError
 */
export async function connectedNode(cluster: StoreCluster, key: string, timeoutMs: number) {
  const client = await pTimeout(cluster.getNodeClientForKey(key), {
    milliseconds: timeoutMs,
    message: `no connection to the cluster within ${timeoutMs} ms`,
  })
  return { address: cluster.masters.find((master) => master.client === client)?.address ?? '', client }
}
