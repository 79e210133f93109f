import { of, ofInstances, quantile, quantiles, rate, sumRate } from './promql.ts'

/** What the dashboard shows: each panel's question in PromQL. A test asks a running server for every name in them. */
export interface Panel {
  title: string
  description?: string
  kind?: 'stat' | 'timeseries'
  /** Grafana's name of it. */
  unit?: string
  max?: number
  /** From where on a stat is red; `above` false: below it. */
  bad?: { value: number; above: boolean }
  /** PromQL, and what a line is called. */
  queries: [expression: string, legend: string][]
}

const http = 'minimart_http_request_duration_seconds'
/** A socket's upgrade says nothing about answering, and probes would hide what people wait for. */
const answering = 'route!~"/ws|/healthz|/readyz|/metrics"'

export const panelRows: { title: string; panels: Panel[] }[] = [
  {
    title: 'At a glance',
    panels: [
      {
        title: 'Instances ready',
        kind: 'stat',
        bad: { value: 1, above: false },
        queries: [[`sum(${ofInstances('minimart_ready', '', 'part="service"')})`, 'ready']],
      },
      {
        title: 'Requests',
        kind: 'stat',
        unit: 'reqps',
        queries: [[sumRate(`${http}_count`, '', answering), 'requests']],
      },
      {
        title: 'Answers 5xx',
        kind: 'stat',
        unit: 'percentunit',
        bad: { value: 0.01, above: true },
        queries: [
          [
            `(${sumRate(`${http}_count`, '', 'status=~"5.."')} or vector(0)) / ${sumRate(`${http}_count`)}`,
            '5xx',
          ],
        ],
      },
      {
        title: 'Latency p99',
        kind: 'stat',
        unit: 's',
        bad: { value: 1, above: true },
        queries: [[quantile(0.99, http, '', answering), 'p99']],
      },
      { title: 'Open sockets', kind: 'stat', queries: [[`sum(${of('minimart_sockets')})`, 'sockets']] },
      {
        title: 'Versions',
        kind: 'stat',
        queries: [[`count by (version) (${ofInstances('minimart_build_info', ', version')})`, '{{version}}']],
      },
    ],
  },
  {
    title: 'HTTP',
    panels: [
      {
        title: 'Requests by status',
        unit: 'reqps',
        queries: [[sumRate(`${http}_count`, 'status'), '{{status}}']],
      },
      { title: 'Latency', unit: 's', queries: quantiles(http, answering) },
      {
        title: 'Slowest routes, p95',
        unit: 's',
        queries: [[`topk(8, ${quantile(0.95, http, 'method, route', answering)})`, '{{method}} {{route}}']],
      },
      {
        title: 'Errors by route',
        unit: 'reqps',
        queries: [
          [
            sumRate(`${http}_count`, 'method, route, status', 'status=~"5.."'),
            '{{status}} {{method}} {{route}}',
          ],
        ],
      },
      {
        title: 'Refused by limits',
        unit: 'reqps',
        queries: [[sumRate('minimart_rate_limit_refusals_total', 'policy'), '{{policy}}']],
      },
    ],
  },
  {
    title: 'Live sync',
    panels: [
      {
        title: 'Sockets and what they follow',
        queries: [
          [`sum(${of('minimart_sockets')})`, 'sockets'],
          [`sum(${of('minimart_subscriptions')})`, 'subscriptions'],
          [`sum(${of('minimart_streams')})`, 'streams'],
        ],
      },
      {
        title: 'Sockets opened and closed',
        unit: 'cps',
        queries: [
          [sumRate('minimart_sockets_opened_total'), 'opened'],
          [`${sumRate('minimart_sockets_closed_total', 'code')} > 0`, 'closed {{code}}'],
        ],
      },
      {
        title: 'Events',
        unit: 'cps',
        queries: [
          [sumRate('minimart_events_published_total'), 'committed'],
          [sumRate('minimart_events_delivered_total'), 'delivered to sockets'],
          [sumRate('minimart_events_healed_total'), 'healed'],
        ],
      },
      {
        title: 'From commit to delivery',
        description: 'By the clocks of the database and of the instance that delivers.',
        unit: 's',
        queries: quantiles('minimart_event_delivery_seconds'),
      },
    ],
  },
  {
    title: 'Database',
    panels: [
      {
        title: 'Latency of calls, p99',
        unit: 's',
        queries: [[quantile(0.99, 'minimart_database_call_duration_seconds', 'kind'), '{{kind}}']],
      },
      {
        title: 'Calls',
        unit: 'cps',
        queries: [[sumRate('minimart_database_call_duration_seconds_count', 'kind'), '{{kind}}']],
      },
      {
        title: 'Connections',
        queries: [
          [`sum(${of('minimart_database_connections')})`, 'open'],
          [`sum(${of('minimart_database_connections_limit')})`, 'limit'],
        ],
      },
      {
        title: 'Calls under way and waiting',
        queries: [
          [`sum by (instance) (${of('minimart_database_calls')})`, 'under way {{instance}}'],
          [`sum by (instance) (${of('minimart_database_calls_waiting')})`, 'waiting {{instance}}'],
        ],
      },
      {
        title: 'Failed calls',
        unit: 'cps',
        queries: [[sumRate('minimart_database_failures_total', 'kind, reason'), '{{kind}} {{reason}}']],
      },
      {
        title: 'Parts that are ready',
        max: 1,
        queries: [[of('minimart_ready'), '{{instance}} {{part}}']],
      },
    ],
  },
  {
    title: 'Processes',
    panels: [
      {
        title: 'Event-loop lag, p99',
        unit: 's',
        queries: [
          [quantile(0.99, 'minimart_event_loop_lag_seconds', 'instance, worker'), '{{instance}} {{worker}}'],
        ],
      },
      {
        title: 'CPU',
        unit: 'percentunit',
        queries: [[rate('process_cpu_seconds_total'), '{{instance}} {{worker}}']],
      },
      {
        title: 'Memory',
        unit: 'bytes',
        queries: [
          [of('process_resident_memory_bytes'), 'resident {{instance}} {{worker}}'],
          [of('minimart_heap_used_bytes'), 'heap {{instance}} {{worker}}'],
        ],
      },
      {
        title: 'File descriptors',
        queries: [
          [of('process_open_fds'), 'open {{instance}} {{worker}}'],
          [`min(${of('process_max_fds')})`, 'limit'],
        ],
      },
      {
        title: 'Password hashing',
        queries: [
          [`sum(${of('minimart_password_hashes_running')})`, 'running'],
          [`sum(${of('minimart_password_hashes_waiting')})`, 'waiting'],
        ],
      },
    ],
  },
  {
    title: 'Mail, Redis, housekeeping',
    panels: [
      {
        title: 'Mail',
        queries: [
          [`sum(${of('minimart_mail_queued')})`, 'queued'],
          [`sum(increase(${of('minimart_mail_sent_total')}[$__rate_interval]))`, 'sent'],
          [`sum(increase(${of('minimart_mail_failed_total')}[$__rate_interval]))`, 'failed'],
          [`sum(increase(${of('minimart_mail_dropped_total')}[$__rate_interval]))`, 'dropped'],
        ],
      },
      {
        title: 'Redis came back',
        queries: [[`increase(${of('minimart_redis_reconnects_total')}[$__rate_interval])`, '{{instance}}']],
      },
      {
        title: 'Housekeeping: since the last, and how long',
        unit: 's',
        queries: [
          [`time() - max(${of('minimart_housekeeping_last_success_timestamp_seconds')} > 0)`, 'age'],
          [of('minimart_housekeeping_duration_seconds'), '{{instance}} took'],
        ],
      },
      {
        title: 'Cleared away',
        queries: [
          [
            `sum by (what) (increase(${of('minimart_housekeeping_removed_total')}[$__rate_interval]))`,
            '{{what}}',
          ],
          [
            `sum by (outcome) (increase(${of('minimart_housekeeping_runs_total')}[1h]))`,
            'rounds {{outcome}}',
          ],
        ],
      },
    ],
  },
]
