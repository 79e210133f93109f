/** Live sync in figures: sockets, what they follow, and the events on their way to them. */
import { Histogram, type Registry } from 'prom-client'
import { gauge, total, totals } from './registry.ts'

export interface LiveSources {
  hub: {
    counts(): { streams: number; published: number; delivered: number; healed: number }
    onDelivery(observer: (seconds: number) => void): void
  }
  sockets: {
    counts(): { sockets: number; subscriptions: number }
    totals(): { opened: number; closed: ReadonlyMap<number, number> }
  }
}

export function liveMetrics(registry: Registry, { hub, sockets }: LiveSources): void {
  gauge(registry, 'minimart_sockets', 'Open sockets.', () => sockets.counts().sockets)
  total(registry, 'minimart_sockets_opened_total', 'Sockets opened.', () => sockets.totals().opened)
  totals(
    registry,
    'minimart_sockets_closed_total',
    'Sockets closed, by close code; 0 for codes that are none of ours.',
    'code',
    () => sockets.totals().closed,
  )
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
    registers: [registry],
  })
  hub.onDelivery((seconds) => delivery.observe(seconds))
}
