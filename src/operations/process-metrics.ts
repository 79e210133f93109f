/**
 * The process itself, under the names that Prometheus' own clients use. Not by prom-client's default metrics: half of
 * them ask V8, which is not what runs this program, and come out as zeros.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { Histogram, type Registry } from 'prom-client'
import { version } from '../version.ts'
import { gauge, info, total } from './registry.ts'

export function processMetrics(registry: Registry): void {
  info(registry, 'minimart_build_info', 'The program that runs.', { version, bun: Bun.version })
  total(registry, 'process_cpu_seconds_total', 'User and system CPU time spent in seconds.', () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1_000_000
  })
  const startedAt = performance.timeOrigin / 1000
  gauge(
    registry,
    'process_start_time_seconds',
    'Start of the process in seconds since 1970.',
    () => startedAt,
  )
  gauge(registry, 'process_resident_memory_bytes', 'Resident memory size in bytes.', () =>
    readable(() => process.memoryUsage.rss(), Number.NaN),
  )
  gauge(registry, 'minimart_heap_used_bytes', "Memory that the program's objects take.", () =>
    readable(() => process.memoryUsage().heapUsed, Number.NaN),
  )
  fileDescriptors(registry)
}

/** Where the system tells: Linux. */
function fileDescriptors(registry: Registry): void {
  const limit = /^Max open files +(\d+)/m.exec(read('/proc/self/limits'))?.[1]
  if (limit === undefined) return
  const most = Number(limit)
  // Looking takes one more: where that fails, all of them are open.
  gauge(registry, 'process_open_fds', 'Open file descriptors.', () =>
    readable(() => readdirSync('/proc/self/fd').length, most),
  )
  gauge(registry, 'process_max_fds', 'File descriptors that may be open.', () => most)
}

/** The system tells these through files, which cannot be opened where no file descriptor is left; all else is told. */
function readable(value: () => number, otherwise: number): number {
  try {
    return value()
  } catch {
    return otherwise
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

const lagIntervalMs = 50

/**
 * Sets an alarm every 50 ms and looks how late it comes. A histogram, so that two that scrape do not disturb each
 * other, and instances can be taken together. The alarm keeps no process alive.
 * @returns stops it
 */
export function watchEventLoop(registry: Registry): () => void {
  const lag = new Histogram({
    name: 'minimart_event_loop_lag_seconds',
    help: 'How late a timer of 50 ms came: what everything else had to wait as well.',
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
