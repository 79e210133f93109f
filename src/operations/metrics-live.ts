/** Metrics of live sync: sockets, their subscriptions, and the events delivered to them. */
import { Histogram, type Registry } from 'prom-client'
import { counter, counters, gauge } from './registry.ts'

export interface LiveSources {
  hub: {
    counts(): { streams: number; published: number; delivered: number; healed: number; dropped: number }
    onDelivery(observer: (seconds: number) => void): void
  }
  sockets: {
    counts(): { sockets: number; subscriptions: number }
    totals(): { opened: number; closed: ReadonlyMap<number, number> }
  }
}

export function liveMetrics(registry: Registry, { hub, sockets }: LiveSources): void {
  gauge(registry, 'minimart_sockets', 'Open sockets.', () => sockets.counts().sockets)
  counter(registry, 'minimart_sockets_opened_total', 'Sockets opened.', () => sockets.totals().opened)
  counters(
    registry,
    'minimart_sockets_closed_total',
    'Sockets closed, by close code; 0 for codes that are not ours.',
    'code',
    () => sockets.totals().closed,
  )
  gauge(
    registry,
    'minimart_subscriptions',
    'Subscriptions of all sockets.',
    () => sockets.counts().subscriptions,
  )
  gauge(registry, 'minimart_streams', 'Lists with a subscriber on this instance.', () => hub.counts().streams)
  counter(
    registry,
    'minimart_events_published_total',
    'Events committed by this instance.',
    () => hub.counts().published,
  )
  counter(
    registry,
    'minimart_events_delivered_total',
    'Events delivered to sockets.',
    () => hub.counts().delivered,
  )
  counter(
    registry,
    'minimart_events_healed_total',
    'Missed events that were read from the database.',
    () => hub.counts().healed,
  )
  counter(
    registry,
    'minimart_broker_messages_dropped_total',
    'Messages in Redis that were dropped: not from an instance of this installation, malformed or of a newer release.',
    () => hub.counts().dropped,
  )
  const delivery = new Histogram({
    name: 'minimart_event_delivery_seconds',
    help: 'Time from the commit of an event to its delivery to sockets of this instance.',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers: [registry],
  })
  hub.onDelivery((seconds) => delivery.observe(seconds))
}
