/** What is counted, in Prometheus' text format. Labels come from bounded sets: methods, route patterns, statuses. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { clearedKinds, type Round, roundOutcomes } from '../features/housekeeping/round.ts'

export interface MetricsSources {
  mail: () => { queued: number; sent: number; failed: number; dropped: number }
  passwords: () => { running: number; waiting: number }
  live: {
    hub: {
      counts(): { streams: number; published: number; delivered: number; healed: number }
      onDelivery(observer: (seconds: number) => void): void
    }
    sockets: { counts(): { sockets: number; subscriptions: number } }
  }
}

export interface Metrics {
  countRequest(method: string, route: string, status: number, milliseconds: number): void
  countHousekeeping(round: Round): void
  text(): Promise<string>
  readonly contentType: string
}

const methods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

export function createMetrics({ mail, passwords, live: { hub, sockets } }: MetricsSources): Metrics {
  const registers = [new Registry()] as const
  const [registry] = registers
  const latency = new Histogram({
    name: 'minimart_http_request_duration_seconds',
    help: 'Time from a request to its answer.',
    labelNames: ['method', 'route', 'status'] as const,
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [...registers],
  })
  gauge(registry, 'minimart_mail_queued', 'Mails waiting to be sent.', () => mail().queued)
  total(registry, 'minimart_mail_sent_total', 'Mails handed to the mail server.', () => mail().sent)
  total(registry, 'minimart_mail_failed_total', 'Mails given up after their last try.', () => mail().failed)
  total(registry, 'minimart_mail_dropped_total', 'Mails dropped for want of room.', () => mail().dropped)
  gauge(
    registry,
    'minimart_password_hashes_running',
    'Password hashes being computed.',
    () => passwords().running,
  )
  gauge(registry, 'minimart_password_hashes_waiting', 'Password hashes waiting.', () => passwords().waiting)
  gauge(registry, 'minimart_sockets', 'Open sockets.', () => sockets.counts().sockets)
  gauge(
    registry,
    'minimart_subscriptions',
    'Lists followed by sockets.',
    () => sockets.counts().subscriptions,
  )
  gauge(registry, 'minimart_streams', 'Lists followed by this instance.', () => hub.counts().streams)
  total(registry, 'minimart_events_published_total', 'Events committed here.', () => hub.counts().published)
  total(registry, 'minimart_events_delivered_total', 'Events given to sockets.', () => hub.counts().delivered)
  total(registry, 'minimart_events_healed_total', 'Missed events read again.', () => hub.counts().healed)
  const delivery = new Histogram({
    name: 'minimart_event_delivery_seconds',
    help: 'Time from the commit of an event to its delivery to the sockets of this instance.',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers: [...registers],
  })
  hub.onDelivery((seconds) => delivery.observe(seconds))
  const countHousekeeping = housekeepingMetrics(registry)
  gauge(registry, 'process_resident_memory_bytes', 'Resident memory size in bytes.', () =>
    process.memoryUsage.rss(),
  )
  return {
    countRequest(method, route, status, milliseconds) {
      const known = methods.has(method) ? method : 'other'
      latency.observe({ method: known, route, status: String(status) }, milliseconds / 1000)
    },
    countHousekeeping,
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}

/** Every label stands from the beginning, at zero. A round that another instance had begun says nothing of this one. */
function housekeepingMetrics(registry: Registry): Metrics['countHousekeeping'] {
  const registers = [registry]
  const removed = new Counter({
    name: 'minimart_housekeeping_removed_total',
    help: 'Rows cleared away by this instance.',
    labelNames: ['what'] as const,
    registers,
  })
  const runs = new Counter({
    name: 'minimart_housekeeping_runs_total',
    help: 'Rounds of housekeeping; elsewhere: another instance was at it.',
    labelNames: ['outcome'] as const,
    registers,
  })
  const lastSuccess = new Gauge({
    name: 'minimart_housekeeping_last_success_timestamp_seconds',
    help: 'When this instance last finished a round; 0 for never.',
    registers,
  })
  const duration = new Gauge({
    name: 'minimart_housekeeping_duration_seconds',
    help: 'How long the last round of this instance took.',
    registers,
  })
  for (const what of clearedKinds) removed.inc({ what }, 0)
  for (const outcome of roundOutcomes) runs.inc({ outcome }, 0)
  return (round) => {
    for (const what of clearedKinds) removed.inc({ what }, round.removed[what])
    runs.inc({ outcome: round.outcome })
    if (round.outcome === 'done') lastSuccess.setToCurrentTime()
    if (round.outcome !== 'elsewhere') duration.set(round.seconds)
  }
}

function gauge(registry: Registry, name: string, help: string, value: () => number): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(value())
    },
  })
}

/** A count kept elsewhere, read when asked. */
function total(registry: Registry, name: string, help: string, value: () => number): void {
  new Counter({
    name,
    help,
    registers: [registry],
    collect() {
      this.reset()
      this.inc(value())
    },
  })
}
