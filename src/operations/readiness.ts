/** Whether the service can do its work, for /readyz and the metric minimart_ready. */
import pTimeout from 'p-timeout'
import type { Database } from '../db/database.ts'
import { migrationState } from '../db/migrations/status.ts'
import type { OpenStore } from '../store/open.ts'

export interface Readiness {
  status: 'ready' | 'not_ready' | 'draining'
  database: 'up' | 'down'
  migrations: 'current' | 'pending' | 'newer' | 'foreign' | 'unknown'
  redis: 'up' | 'down' | 'not_used'
}

/** `leaving` once the server has begun to stop. While `starting` it may already listen. */
export type Phase = 'starting' | 'serving' | 'leaving'

export interface ReadinessDeps {
  db: Database
  store: OpenStore
  phase: () => Phase
}

/** A database call times out later than any probe does. The store has a timeout of two seconds of its own. */
const timeoutMs = 2000

export async function readiness({ db, store, phase }: ReadinessDeps): Promise<Readiness> {
  const [database, redis] = await Promise.all([checkDatabase(db), checkRedis(store)])
  const ready = phase() === 'serving' && isUsable(database) && redis !== 'down'
  return { status: phase() === 'leaving' ? 'draining' : ready ? 'ready' : 'not_ready', ...database, redis }
}

/** `newer` too: during a rolling upgrade the next release has migrated already. */
export const isUsable = ({ migrations }: Pick<Readiness, 'migrations'>): boolean =>
  migrations === 'current' || migrations === 'newer'

async function checkDatabase(db: Database): Promise<Pick<Readiness, 'database' | 'migrations'>> {
  try {
    const { state } = await pTimeout(migrationState(db), { milliseconds: timeoutMs })
    return { database: 'up', migrations: state }
  } catch {
    // The adapters log the cause.
    return { database: 'down', migrations: 'unknown' }
  }
}

async function checkRedis(store: OpenStore): Promise<Readiness['redis']> {
  if (store.kind !== 'redis') return 'not_used'
  return store.ping().then(
    () => 'up' as const,
    () => 'down' as const,
  )
}
