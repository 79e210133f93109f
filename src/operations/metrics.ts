/** The service's metrics, in Prometheus' text format. Labels are bounded: methods, route patterns, statuses. */
import { Histogram, Registry } from 'prom-client'
import type { LineCounts, ReadingLines } from '../access/reading-lines.ts'
import type { Round } from '../features/housekeeping/round.ts'
import { knownMethod } from '../lib/http-methods.ts'
import { type BackendSources, backendMetrics } from './metrics-backends.ts'
import { housekeepingMetrics } from './metrics-housekeeping.ts'
import { type LiveSources, liveMetrics } from './metrics-live.ts'
import { processMetrics, watchEventLoop } from './process-metrics.ts'
import { counters, gauge, gauges } from './registry.ts'

export interface MetricsSources extends BackendSources {
  live: LiveSources
  passwords: { load(): { running: number; waiting: number } }
  limits: { refusals(): ReadonlyMap<string, number> }
  lines: ReadingLines
  failedAttempts: { counts(): ReadonlyMap<string, number> }
}

/** The metrics of one process, as a worker sends them to its parent. */
export type MetricFamilies = Awaited<ReturnType<Registry['getMetricsAsJSON']>>

export interface Metrics {
  countRequest(method: string, route: string, status: number, milliseconds: number): void
  countHousekeeping(round: Round): void
  text(): Promise<string>
  families(): Promise<MetricFamilies>
  readonly contentType: string
  /** Stops measuring the event loop's lag. */
  close(): void
}

function readingMetrics(registry: Registry, lines: ReadingLines): void {
  const { lists, replays } = lines
  const valuesOf = (name: keyof LineCounts) => [
    { labels: { line: 'lists' }, value: lists.counts()[name] },
    { labels: { line: 'replays' }, value: replays.counts()[name] },
  ]
  gauges(
    registry,
    'minimart_large_reads',
    'Whole lists and replays that are being read or handed over.',
    ['line'],
    async () => valuesOf('held'),
  )
  gauges(
    registry,
    'minimart_large_reads_waiting',
    'Whole lists and replays that wait for their turn.',
    ['line'],
    async () => valuesOf('waiting'),
  )
  counters(
    registry,
    'minimart_large_reads_refused_total',
    'Whole lists and replays that were refused, or given up, in line.',
    'line',
    () => new Map(Object.entries(lines).map(([line, { counts }]) => [line, counts().refused])),
  )
}

export function createMetrics(sources: MetricsSources): Metrics {
  const registry = new Registry()
  const requests = new Histogram({
    name: 'minimart_http_request_duration_seconds',
    help: 'Duration of HTTP requests.',
    labelNames: ['method', 'route', 'status'] as const,
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  })
  const { passwords, limits, lines, failedAttempts } = sources
  gauge(
    registry,
    'minimart_password_hashes_running',
    'Password hashes being computed.',
    () => passwords.load().running,
  )
  gauge(
    registry,
    'minimart_password_hashes_waiting',
    'Password hashes waiting for a free slot.',
    () => passwords.load().waiting,
  )
  counters(
    registry,
    'minimart_rate_limit_refusals_total',
    'Requests refused by a rate limit.',
    'policy',
    limits.refusals,
  )
  readingMetrics(registry, lines)
  counters(
    registry,
    'minimart_failed_attempts_total',
    'Refused sign-ins, codes, passwords and resets in the audit trail; nobody: at addresses without an account.',
    'of',
    failedAttempts.counts,
  )
  const countHousekeeping = housekeepingMetrics(registry)
  liveMetrics(registry, sources.live)
  backendMetrics(registry, sources)
  processMetrics(registry)
  const close = watchEventLoop(registry)
  return {
    countRequest(method, route, status, milliseconds) {
      const labels = { method: knownMethod(method) ?? 'other', route, status: String(status) }
      requests.observe(labels, milliseconds / 1000)
    },
    countHousekeeping,
    text: () => registry.metrics(),
    families: () => registry.getMetricsAsJSON(),
    contentType: registry.contentType,
    close,
  }
}
