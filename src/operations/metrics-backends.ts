/** What the service stands on, in figures: its database, Redis, mail, and whether with all of them it is ready. */
import { Counter, Histogram, type Registry } from 'prom-client'
import type { InstrumentedDatabase } from '../db/instrumented.ts'
import { isUsable, type Readiness, type ReadinessDeps, readiness } from './readiness.ts'
import { gauge, gauges, info, total } from './registry.ts'

export interface BackendSources extends ReadinessDeps {
  db: InstrumentedDatabase
  mailer: { state(): { queued: number; sent: number; failed: number; dropped: number } }
}

/** A scrape must come back though the database does not. */
const readinessPatienceMs = 1000

export function backendMetrics(registry: Registry, sources: BackendSources): void {
  const { db, store, mailer } = sources
  const backend = { database: db.kind, store: store.kind }
  info(
    registry,
    'minimart_backend_info',
    'What it stands on: the database, and the store of short-lived state.',
    backend,
  )
  databaseMetrics(registry, db)
  // After the database's own figures, which would show the call that this makes.
  gauges(
    registry,
    'minimart_ready',
    'Whether the service can do its work (1 or 0), and each part that this takes.',
    ['part'],
    async () => readyParts(await readinessInTime(sources)),
  )
  total(registry, 'minimart_redis_reconnects_total', 'Outages of Redis that have ended.', store.reconnects)
  gauge(registry, 'minimart_mail_queued', 'Mails waiting to be sent.', () => mailer.state().queued)
  total(registry, 'minimart_mail_sent_total', 'Mails handed to the mail server.', () => mailer.state().sent)
  total(
    registry,
    'minimart_mail_failed_total',
    'Mails given up after their last try.',
    () => mailer.state().failed,
  )
  total(
    registry,
    'minimart_mail_dropped_total',
    'Mails dropped for want of room.',
    () => mailer.state().dropped,
  )
}

function databaseMetrics(registry: Registry, db: InstrumentedDatabase): void {
  gauge(
    registry,
    'minimart_database_connections',
    'Connections to the database.',
    () => db.stats().connections,
  )
  gauge(
    registry,
    'minimart_database_connections_limit',
    'Connections to the database there may be.',
    () => db.stats().connectionLimit,
  )
  gauge(registry, 'minimart_database_calls', 'Calls of the database under way.', () => db.stats().calls)
  gauge(
    registry,
    'minimart_database_calls_waiting',
    'Calls that wait for a connection: transactions, or any in the embedded database.',
    () => db.stats().waiting,
  )
  const durations = new Histogram({
    name: 'minimart_database_call_duration_seconds',
    help: 'Time from a call of the database to its outcome, waiting included.',
    labelNames: ['kind'] as const,
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  })
  const failures = new Counter({
    name: 'minimart_database_failures_total',
    help: 'Calls that failed: too many (busy), connection lost or too slow (unavailable), or a fault of the program.',
    labelNames: ['kind', 'reason'] as const,
    registers: [registry],
  })
  for (const kind of ['read', 'write', 'transaction'] as const) {
    durations.zero({ kind })
    for (const reason of ['busy', 'unavailable', 'fault'] as const) failures.inc({ kind, reason }, 0)
  }
  db.onCall((kind, seconds, failure) => {
    durations.observe({ kind }, seconds)
    if (failure !== null) failures.inc({ kind, reason: failure })
  })
}

async function readinessInTime(deps: ReadinessDeps): Promise<Readiness | null> {
  const { promise: late, resolve } = Promise.withResolvers<null>()
  const timer = setTimeout(() => resolve(null), readinessPatienceMs)
  return await Promise.race([readiness(deps), late]).finally(() => clearTimeout(timer))
}

function readyParts(found: Readiness | null) {
  const part = (name: string, ready: boolean) => ({ labels: { part: name }, value: ready ? 1 : 0 })
  return [
    part('service', found?.status === 'ready'),
    part('database', found?.database === 'up'),
    part('migrations', found !== null && isUsable(found)),
    ...(found?.redis === 'not_used' ? [] : [part('redis', found?.redis === 'up')]),
  ]
}
