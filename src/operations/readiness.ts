/** Whether the service can do its work: what /readyz says, and the metrics with it. */
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

/** `leaving` from the moment the server was told to stop; until `serving` it may listen without all being there. */
export type Phase = 'starting' | 'serving' | 'leaving'

export interface ReadinessDeps {
  db: Database
  store: OpenStore
  phase: () => Phase
}

/** A frozen database takes all of its own deadline to say nothing, longer than any probe waits. Redis has two seconds. */
const timeoutMs = 2000

export async function readiness({ db, store, phase }: ReadinessDeps): Promise<Readiness> {
  const [database, redis] = await Promise.all([checkDatabase(db), checkRedis(store)])
  const ready = phase() === 'serving' && isUsable(database) && redis !== 'down'
  return { status: phase() === 'leaving' ? 'draining' : ready ? 'ready' : 'not_ready', ...database, redis }
}

/** Also while the next release has migrated already and instances are being exchanged. */
export const isUsable = ({ migrations }: Pick<Readiness, 'migrations'>): boolean =>
  migrations === 'current' || migrations === 'newer'

async function checkDatabase(db: Database): Promise<Pick<Readiness, 'database' | 'migrations'>> {
  try {
    const { state } = await pTimeout(migrationState(db), { milliseconds: timeoutMs })
    return { database: 'up', migrations: state }
  } catch {
    // What exactly is wrong is in the log of the adapters; a probe only needs to know that it is.
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
