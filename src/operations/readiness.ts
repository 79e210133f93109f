/** Whether the service can do its work, for /readyz and the metric minimart_ready. */
import { sql } from 'drizzle-orm'
import pTimeout from 'p-timeout'
import type { InstrumentedDatabase } from '../db/instrumented.ts'
import { migrationState } from '../db/migrations/status.ts'
import { remembered } from '../lib/remembered.ts'
import type { BrokerState } from '../realtime/broker.ts'
import type { OpenStore } from '../store/open.ts'
import { writeRefusal } from '../store/redis.ts'

export interface Readiness {
  status: 'ready' | 'not_ready' | 'draining'
  /** `read_only`: a standby; `full`: the last write found no room. */
  database: 'up' | 'down' | 'read_only' | 'full'
  migrations: 'current' | 'pending' | 'newer' | 'foreign' | 'unknown'
  /** `no_channels`: it does not let this user subscribe or publish. */
  redis: 'up' | 'down' | 'full' | 'read_only' | 'no_channels' | 'not_used'
}

type Found = Omit<Readiness, 'status'>

/** `leaving` once the server has begun to stop. While `starting` it may already listen. */
export type Phase = 'starting' | 'serving' | 'leaving'

export interface ReadinessDeps {
  db: Pick<InstrumentedDatabase, 'readUrgent' | 'isFull'>
  store: Pick<OpenStore, 'kind' | 'ping'>
  live: { hub: { brokerState(): BrokerState } }
  phase: () => Phase
}

/** A database call times out later than any probe does. The store has a timeout of two seconds of its own. */
const timeoutMs = 2000
/** However often and from wherever it is asked, the backends are looked at one at a time and not more often. */
const lookEveryMs = 500

export function createReadiness(deps: ReadinessDeps): () => Promise<Readiness> {
  const look = remembered(lookEveryMs, async (): Promise<Found> => {
    const [database, redis] = await Promise.all([checkDatabase(deps), checkRedis(deps)])
    return { ...database, redis }
  })
  return async () => {
    const found = await look()
    const phase = deps.phase()
    const isReady = phase === 'serving' && found.database === 'up' && isUsable(found) && isRedisUsable(found)
    return { status: phase === 'leaving' ? 'draining' : isReady ? 'ready' : 'not_ready', ...found }
  }
}

/** `newer` too: during a rolling upgrade the next release has migrated already. */
export const isUsable = ({ migrations }: Pick<Readiness, 'migrations'>): boolean =>
  migrations === 'current' || migrations === 'newer'

const isRedisUsable = ({ redis }: Pick<Readiness, 'redis'>): boolean => redis === 'up' || redis === 'not_used'

async function checkDatabase({ db }: ReadinessDeps): Promise<Pick<Readiness, 'database' | 'migrations'>> {
  try {
    const looked = Promise.all([migrationState(db), db.readUrgent('system', selectStandby)])
    const [{ state }, [row]] = await pTimeout(looked, { milliseconds: timeoutMs })
    return { database: row?.standby ? 'read_only' : db.isFull() ? 'full' : 'up', migrations: state }
  } catch {
    // The adapters log the cause.
    return { database: 'down', migrations: 'unknown' }
  }
}

/** Its other ways to take no writes do not apply: each of our transactions says that it writes. */
const selectStandby = sql<{ standby: boolean }>`select pg_is_in_recovery() as standby`

async function checkRedis({ store, live }: ReadinessDeps): Promise<Readiness['redis']> {
  if (store.kind !== 'redis') return 'not_used'
  try {
    await store.ping()
    return live.hub.brokerState() === 'refused' ? 'no_channels' : 'up'
  } catch (error) {
    return writeRefusal(error) ?? 'down'
  }
}
