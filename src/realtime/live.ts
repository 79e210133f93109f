/** Live sync as server.ts opens it: the hub of streams and the sockets that hear them. */

import type { AccessTokens } from '../access/access-tokens.ts'
import type { Revocations } from '../access/revocations.ts'
import type { Config } from '../config/config.ts'
import type { Database } from '../db/database.ts'
import type { Logger } from '../log.ts'
import { createLocalBroker } from './broker.ts'
import { createRedisBroker } from './broker-redis.ts'
import { createHub, type Hub } from './hub.ts'
import { encode } from './protocol.ts'
import { createSockets, type Sockets } from './sockets.ts'

export interface Live {
  readonly hub: Hub
  readonly sockets: Sockets
  /** Given once the server listens: topics are the server's. */
  useTopics(publish: (topic: string, text: string) => void): void
  /** Tells everyone to come back elsewhere. */
  dismissAll(): Promise<void>
  close(): Promise<void>
}

/** A missed publish is healed within this time even if nothing else happens on the list. */
const checkHeadsMs = 3000

export interface LiveDeps {
  config: Pick<Config, 'redisUrl'>
  db: Database
  log: Logger
  tokens: AccessTokens
  revocations: Revocations
}

export function createLive({ config: { redisUrl }, db, log, tokens, revocations }: LiveDeps): Live {
  let toTopic: (topic: string, text: string) => void = () => undefined
  const hub = createHub({
    db,
    log,
    checkHeadsMs,
    makeBroker: (handlers) =>
      redisUrl === null ? createLocalBroker(handlers) : createRedisBroker({ url: redisUrl, log }, handlers),
    publishToTopic: (topic, text) => toTopic(topic, text),
    resyncText: ({ listId }, seq) => encode({ type: 'resync_required', payload: { list_id: listId, seq } }),
  })
  const sockets = createSockets({ db, hub, tokens, log, revocations })
  return {
    hub,
    sockets,
    useTopics: (publish) => {
      toTopic = publish
    },
    dismissAll: sockets.closeAll,
    close: async () => {
      // Again, where the server never came to serve: the sockets' clock would keep the process alive.
      await sockets.closeAll()
      await hub.close()
    },
  }
}
