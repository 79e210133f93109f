import type { AccessTokens } from '../access/access-tokens.ts'
import type { RateLimits } from '../access/rate-limits.ts'
import type { Line } from '../access/reading-lines.ts'
import type { Revocations } from '../access/revocations.ts'
import type { Database } from '../db/database.ts'
import type { Logger } from '../log.ts'
import { createLocalBroker } from './broker.ts'
import { createRedisBroker, type RedisBrokerOptions } from './broker-redis.ts'
import { createHub, type Hub } from './hub.ts'
import { resyncText } from './replay.ts'
import { createSockets, type Sockets } from './sockets.ts'

/** Live sync: the hub of streams, and the sockets that listen to them. */
export interface Live {
  readonly hub: Hub
  readonly sockets: Sockets
  /** Topics belong to the server: until it listens and calls this, nothing is published. */
  useTopics(publish: (topic: string, text: string) => void): void
  close(): Promise<void>
}

/** Events lost by Redis are delivered within this time. */
const reconcileMs = 3000

export interface LiveDeps {
  /** Null for a single instance. */
  redis: Omit<RedisBrokerOptions, 'log'> | null
  db: Database
  log: Logger
  limits: RateLimits
  replays: Line
  tokens: AccessTokens
  revocations: Revocations
}

export function createLive({ redis, ...deps }: LiveDeps): Live {
  const { db, log } = deps
  let publishToTopic: (topic: string, text: string) => void = () => undefined
  const hub = createHub({
    db,
    log,
    reconcileMs,
    makeBroker: (handlers) =>
      redis === null ? createLocalBroker(handlers) : createRedisBroker({ ...redis, log }, handlers),
    publishToTopic: (topic, text) => publishToTopic(topic, text),
    resyncText,
  })
  const sockets = createSockets({ ...deps, hub })
  return {
    hub,
    sockets,
    useTopics(publish) {
      publishToTopic = publish
    },
    async close() {
      // Also where the server never came to serve: the sockets' clock would keep the process alive.
      await sockets.closeAll()
      await hub.close()
    },
  }
}
