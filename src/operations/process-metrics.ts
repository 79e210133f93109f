/**
 * Process metrics, under the names Prometheus' client libraries share. Not prom-client's default metrics: half of them
 * ask V8, which Bun does not run on, and would report zeros.
 */
import { Histogram, type Registry } from 'prom-client'
import { descriptorLimit, openDescriptors } from '../lib/descriptors.ts'
import { version } from '../version.ts'
import { counter, gauge, info } from './registry.ts'

export function processMetrics(registry: Registry): void {
  info(registry, 'minimart_build_info', 'Version of the program and of Bun.', { version, bun: Bun.version })
  counter(registry, 'process_cpu_seconds_total', 'User and system CPU time spent in seconds.', () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1_000_000
  })
  const startedAt = performance.timeOrigin / 1000
  gauge(
    registry,
    'process_start_time_seconds',
    'Start time of the process since unix epoch in seconds.',
    () => startedAt,
  )
  gauge(registry, 'process_resident_memory_bytes', 'Resident memory size in bytes.', () =>
    readable(() => process.memoryUsage.rss(), Number.NaN),
  )
  gauge(registry, 'minimart_heap_used_bytes', 'Heap in use in bytes.', () =>
    readable(() => process.memoryUsage().heapUsed, Number.NaN),
  )
  fileDescriptors(registry)
}

function fileDescriptors(registry: Registry): void {
  const limit = descriptorLimit()
  if (limit === null) return
  // Where listing them fails, all are in use.
  gauge(registry, 'process_open_fds', 'Number of open file descriptors.', () =>
    readable(openDescriptors, limit),
  )
  gauge(registry, 'process_max_fds', 'Maximum number of open file descriptors.', () => limit)
}

/** These are read from files, which fails when no file descriptor is left; the rest of the scrape must not. */
function readable(value: () => number, otherwise: number): number {
  try {
    return value()
  } catch {
    return otherwise
  }
}

const lagIntervalMs = 50

/**
 * Measures how late a timer of 50 ms fires. A histogram, so that several scrapers do not disturb each other and
 * instances can be aggregated. The timer does not keep the process alive.
 * @returns stops measuring
 */
export function watchEventLoop(registry: Registry): () => void {
  const lag = new Histogram({
    name: 'minimart_event_loop_lag_seconds',
    help: 'How late a 50 ms timer fired: the delay of everything else on the event loop.',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    registers: [registry],
  })
  let due = performance.now() + lagIntervalMs
  const timer = setInterval(() => {
    const now = performance.now()
    lag.observe(Math.max(0, now - due) / 1000)
    due = now + lagIntervalMs
  }, lagIntervalMs)
  timer.unref()
  return () => clearInterval(timer)
}
