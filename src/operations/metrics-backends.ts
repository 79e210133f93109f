/** Metrics of the backends: database, Redis, mail, and readiness. */
import pTimeout from 'p-timeout'
import { Counter, Histogram, type Registry } from 'prom-client'
import type { InstrumentedDatabase } from '../db/instrumented.ts'
import type { OpenStore } from '../store/open.ts'
import { isUsable, type Readiness } from './readiness.ts'
import { counter, gauge, gauges, info } from './registry.ts'

export interface BackendSources {
  db: InstrumentedDatabase
  store: Pick<OpenStore, 'kind' | 'reconnects'>
  readiness: () => Promise<Readiness>
  mailer: { counts(): { sent: number; failed: number; retried: number } }
  outbox: { depth(): { queued: number; oldestSeconds: number } }
}

/** A scrape must answer even when the database does not. */
const readinessTimeoutMs = 1000

export function backendMetrics(registry: Registry, sources: BackendSources): void {
  const { db, store } = sources
  const backend = { database: db.kind, store: store.kind }
  info(registry, 'minimart_backend_info', 'The database and the store of short-lived state in use.', backend)
  databaseMetrics(registry, db)
  // After the database's own metrics, which would count the call made here.
  gauges(
    registry,
    'minimart_ready',
    '1 if the service, or the part of it, is ready, else 0.',
    ['part'],
    async () =>
      readyParts(
        await pTimeout(sources.readiness(), { milliseconds: readinessTimeoutMs, fallback: () => null }),
      ),
  )
  counter(registry, 'minimart_redis_reconnects_total', 'Redis outages that have ended.', store.reconnects)
  mailMetrics(registry, sources)
}

function mailMetrics(registry: Registry, { mailer, outbox }: BackendSources): void {
  gauge(
    registry,
    'minimart_mail_queued',
    'Mails that wait in the database or are being sent, of all instances.',
    () => outbox.depth().queued,
  )
  gauge(
    registry,
    'minimart_mail_oldest_seconds',
    'How long the oldest of them has waited; 0 for none.',
    () => outbox.depth().oldestSeconds,
  )
  counter(
    registry,
    'minimart_mail_sent_total',
    'Mails handed to the mail server.',
    () => mailer.counts().sent,
  )
  counter(
    registry,
    'minimart_mail_retried_total',
    'Attempts that failed and will be repeated.',
    () => mailer.counts().retried,
  )
  counter(
    registry,
    'minimart_mail_failed_total',
    'Mails given up: refused, or not accepted within an hour.',
    () => mailer.counts().failed,
  )
}

function databaseMetrics(registry: Registry, db: InstrumentedDatabase): void {
  gauge(
    registry,
    'minimart_database_connections',
    'Open connections to the database.',
    () => db.stats().connections,
  )
  gauge(
    registry,
    'minimart_database_connections_limit',
    'Maximum number of connections to the database.',
    () => db.stats().connectionLimit,
  )
  gauge(registry, 'minimart_database_calls', 'Database calls in flight.', db.calls)
  gauge(
    registry,
    'minimart_database_calls_waiting',
    'Database calls waiting in the process for a connection, or for the embedded database.',
    () => db.stats().waiting,
  )
  const durations = new Histogram({
    name: 'minimart_database_call_duration_seconds',
    help: 'Duration of database calls, waiting included.',
    labelNames: ['kind'] as const,
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  })
  const failures = new Counter({
    name: 'minimart_database_failures_total',
    help: 'Failed database calls: queue full (busy), connection lost or timed out (unavailable), or a bug (fault).',
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

/** @param found null when it was not known in time */
function readyParts(found: Readiness | null) {
  const part = (name: string, ready: boolean) => ({ labels: { part: name }, value: ready ? 1 : 0 })
  return [
    part('service', found?.status === 'ready'),
    part('database', found?.database === 'up'),
    part('migrations', found !== null && isUsable(found)),
    ...(found?.redis === 'not_used' ? [] : [part('redis', found?.redis === 'up')]),
  ]
}
