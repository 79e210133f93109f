/** /metrics of CONTRACT section 8: every metric is there, well named, bounded in cardinality, and correct. */
import { afterEach, expect, test } from 'bun:test'
import { createClient } from '../support/client.ts'
import { type Family, figuresNow, scrape, seriesOf, sumOf } from '../support/metrics.ts'
import { addItem, makeList, makeTenant } from '../support/people.ts'
import {
  describeBackends,
  describeFull,
  sharedServer,
  startServer,
  type TestServer,
} from '../support/server.ts'
import { closeSockets, openSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

const figures = ({ url }: TestServer): Promise<Family[]> => scrape(`${url}/metrics`)

/** Allowed label values; anything else means that input, not the program, bounds the cardinality. */
const labelValues: Record<string, RegExp> = {
  method: /^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|other)$/,
  route: /^(none|\/[a-z0-9/._:*-]*)$/,
  status: /^[1-5]\d\d$/,
  le: /^(\d|\+Inf)/,
  kind: /^(read|write|transaction)$/,
  reason: /^(busy|unavailable|fault)$/,
  code: /^(0|1\d{3}|40\d\d)$/,
  of: /^(account|nobody)$/,
  policy:
    /^((auth-address|open)(-56|-48)?|auth-account(-known)?|auth-session|invitations|user|tenant-mails|mails)$/,
  line: /^(lists|replays)$/,
  part: /^(service|database|migrations|redis)$/,
  version: /^\d+\.\d+\.\d+/,
  bun: /^\d+\.\d+\.\d+/,
  database: /^(embedded|postgres)$/,
  store: /^(table|redis)$/,
  what: /^[a-z_]+$/,
  outcome: /^[a-z]+$/,
}

/** Methods the server's parser knows; it accepts no others. */
const rareMethods = [
  'MKCOL',
  'LOCK',
  'UNLOCK',
  'COPY',
  'MOVE',
  'SEARCH',
  'REPORT',
  'PURGE',
  'MERGE',
  'NOTIFY',
  'LINK',
  'BIND',
]

/** The rules of Prometheus' "Metric and label naming" and promtool's linter. */
function faultsOf({ name, help, type, samples }: Family): string[] {
  const labels = samples.flatMap((sample) => Object.entries(sample.labels))
  return [
    ...(/^(minimart|process)_[a-z_]+$/.test(name) ? [] : [`${name}: no name of ours`]),
    ...(help.endsWith('.') ? [] : [`${name}: no sentence as help`]),
    ...(type === 'counter' && !name.endsWith('_total') ? [`${name}: a counter ends in _total`] : []),
    ...(type !== 'counter' && /_(total|count|sum|bucket)$/.test(name) ? [`${name}: a ${type} must not`] : []),
    ...(/_(ms|milliseconds|minutes|hours|kb|mb|percent|ratio)(_|$)/.test(name)
      ? [`${name}: base units`]
      : []),
    ...(type === 'histogram' && !name.endsWith('_seconds') ? [`${name}: a histogram without its unit`] : []),
    ...labels
      .filter(([label, value]) => !labelValues[label]?.test(value))
      .map(([label, value]) => `${name}: ${label}="${value}"`),
  ]
}

describeBackends('the metrics', (backend) => {
  afterEach(closeSockets)

  test('cover those of the contract, each with help, a unit and labels from bounded sets', async () => {
    const server = await sharedServer(backend)
    await fetch(`${server.url}/healthz`)
    const found = await until(async () => {
      const families = await figures(server)
      return sumOf(families, 'minimart_event_loop_lag_seconds_count') > 0 && families
    })
    const names = found.map(({ name }) => name)
    for (const wanted of [
      ...['http_request_duration_seconds', 'sockets', 'sockets_opened_total', 'sockets_closed_total'],
      ...['subscriptions', 'streams', 'events_published_total', 'events_delivered_total'],
      ...['events_healed_total', 'event_delivery_seconds', 'database_connections', 'database_calls'],
      ...['database_connections_limit', 'database_calls_waiting', 'database_call_duration_seconds'],
      ...['database_failures_total', 'event_loop_lag_seconds', 'heap_used_bytes', 'build_info'],
      ...['password_hashes_running', 'password_hashes_waiting', 'mail_queued', 'mail_sent_total'],
      ...['mail_oldest_seconds', 'mail_retried_total', 'mail_failed_total', 'rate_limit_refusals_total'],
      ...['ready', 'redis_reconnects_total', 'backend_info', 'failed_attempts_total'],
    ])
      expect(names).toContain(`minimart_${wanted}`)
    for (const wanted of ['cpu_seconds_total', 'resident_memory_bytes', 'start_time_seconds', 'open_fds'])
      expect(names).toContain(`process_${wanted}`)
    expect(found.flatMap(faultsOf)).toEqual([])
    expect(new Set(names).size).toBe(names.length)
    expect(found.filter(({ type }) => type === '').map(({ name }) => name)).toEqual([])
  })

  test('describe the state of the service: its parts, its backends, its process', async () => {
    const server = await sharedServer(backend)
    const found = await until(async () => {
      const families = await figures(server)
      // The scrape's own readiness check is not counted.
      return sumOf(families, 'minimart_database_calls') === 0 && families
    }, 'a quiet moment')
    const parts =
      backend === 'full'
        ? ['service', 'database', 'migrations', 'redis']
        : ['service', 'database', 'migrations']
    const ready = found.find(({ name }) => name === 'minimart_ready')?.samples ?? []
    expect(ready.map(({ labels }) => labels['part'])).toEqual(parts)
    expect(ready.map(({ value }) => value)).toEqual(parts.map(() => 1))
    const labels =
      backend === 'full' ? { database: 'postgres', store: 'redis' } : { database: 'embedded', store: 'table' }
    expect(sumOf(found, 'minimart_backend_info', labels)).toBe(1)
    const { version } = await import('../../package.json')
    expect(sumOf(found, 'minimart_build_info', { version })).toBe(1)
    expect(Math.abs(sumOf(found, 'process_start_time_seconds') * 1000 - performance.timeOrigin)).toBeLessThan(
      1,
    )
    expect(sumOf(found, 'process_resident_memory_bytes')).toBeGreaterThan(50_000_000)
    expect(sumOf(found, 'process_open_fds')).toBeGreaterThan(5)
    expect(sumOf(found, 'minimart_database_connections')).toBeLessThanOrEqual(
      sumOf(found, 'minimart_database_connections_limit'),
    )
  })

  test('count a change, its event, its delivery, the database calls, and a socket opening and closing', async () => {
    const server = await sharedServer(backend)
    const { admin } = await makeTenant(server)
    const list = await makeList(admin)
    const before = await figuresNow(server)
    const socket = await openSocket(server, admin.accessToken)
    await socket.follow(list.id)
    await addItem(admin, list.id)
    await socket.next('item_added')
    const during = await figuresNow(server)
    const grew = (name: string, labels: Record<string, string> = {}, now = during): number =>
      sumOf(now, name, labels) - sumOf(before, name, labels)
    expect(grew('minimart_sockets')).toBe(1)
    expect(grew('minimart_subscriptions')).toBe(1)
    expect(grew('minimart_streams')).toBe(1)
    expect(grew('minimart_sockets_opened_total')).toBe(1)
    expect(grew('minimart_events_published_total')).toBe(1)
    expect(grew('minimart_events_delivered_total')).toBe(1)
    expect(grew('minimart_event_delivery_seconds_count')).toBe(1)
    expect(grew('minimart_database_call_duration_seconds_count', { kind: 'write' })).toBeGreaterThan(0)
    expect(grew('minimart_database_call_duration_seconds_count', { kind: 'read' })).toBeGreaterThan(0)
    const route = { method: 'POST', route: '/api/v1/shopping-lists/:id/items', status: '201' }
    expect(grew('minimart_http_request_duration_seconds_count', route)).toBe(1)
    socket.close()
    await until(
      async () => grew('minimart_sockets', {}, await figuresNow(server)) === 0,
      'the end of the socket',
    )
    expect(grew('minimart_sockets_closed_total', {}, await figuresNow(server))).toBe(1)
  })

  test('gain no series from made-up paths, methods, ids, parameters and close codes', async () => {
    const server = await sharedServer(backend)
    const { admin } = await makeTenant(server)
    const round = async (method: string): Promise<void> => {
      const random = crypto.randomUUID()
      const path = [
        '',
        `/${random}`,
        `/api/v1/${random}`,
        `/api/v1/shopping-lists/${random}`,
        `/api/v1/items/${random}`,
      ]
      await Promise.all([
        ...path.map((path) => fetch(`${server.url}${path}?q=${random}`)),
        fetch(`${server.url}/${random}`, { method }),
        fetch(`${server.url}/healthz`, { method }),
        fetch(`${server.url}/healthz`, { method: `X${random.slice(0, 8).toUpperCase()}` }),
        fetch(`${server.url}/${random}/%2e%2e/metrics/${random}`, { method: 'DELETE' }),
        admin.api.get(`/shopping-lists/${random}`),
        admin.api.get(`/shopping-lists/${random}/items?cursor=${random}`),
        admin.api.delete(`/items/${random}`),
        createClient(server.url).post('/auth/login', { email: `${random}@shop.example`, password: random }),
      ])
      const socket = new WebSocket(`${server.url.replace('http', 'ws')}/ws?token=${admin.accessToken}`)
      const closed = new Promise((resolve) => socket.addEventListener('close', resolve))
      await new Promise((resolve) => socket.addEventListener('open', resolve))
      socket.close(3000 + Math.floor(Math.random() * 999), random)
      await closed
    }
    // A response is counted after it has been sent, and before another one.
    const settled = async (): Promise<string[]> => {
      await fetch(`${server.url}/healthz`)
      return seriesOf(await figuresNow(server))
    }
    await round('PROPFIND')
    const before = await settled()
    for (const method of rareMethods) await round(method)
    expect(await settled()).toEqual(before)
  })
})

describeFull('the metrics', () => {
  test('show the mails that wait, how long the oldest has waited, and what became of the others', async () => {
    const server = await startServer('full')
    try {
      const { admin } = await makeTenant(server)
      const mails = async () => {
        const found = await figures(server)
        return (name: string) => sumOf(found, `minimart_mail_${name}`)
      }
      server.inbox.behave({ refuseWith: 451, at: 'message' })
      await createClient(server.url).post('/auth/forgot-password', { email: admin.email })
      await until(async () => (await mails())('oldest_seconds') > 0, 'a mail that waits')
      const waiting = await mails()
      expect(waiting('queued')).toBe(1)
      expect(waiting('retried_total')).toBeGreaterThan(0)
      expect([waiting('sent_total'), waiting('failed_total')]).toEqual([1, 0])
      server.inbox.behave({ refuseWith: 550, at: 'message' })
      await until(async () => (await mails())('queued') === 0, 'the end of the wait')
      const after = await mails()
      expect(['oldest_seconds', 'sent_total', 'failed_total'].map(after)).toEqual([0, 1, 1])
    } finally {
      await server.stop()
    }
  })

  test('count refusals by limit', async () => {
    const server = await startServer('full', { RATE_LIMIT_AUTH: '2/hour' })
    try {
      const statuses: number[] = []
      for (let count = 0; count < 4; count++) {
        const body = { email: `someone-${count}@shop.example`, password: 'whatever it is' }
        statuses.push((await createClient(server.url).post('/auth/login', body)).status)
      }
      expect(statuses).toEqual([401, 401, 429, 429])
      const found = await figures(server)
      expect(sumOf(found, 'minimart_rate_limit_refusals_total', { policy: 'auth-address' })).toBe(2)
      expect(sumOf(found, 'minimart_rate_limit_refusals_total')).toBe(2)
    } finally {
      await server.stop()
    }
  })
})
