/** Traces, enabled by OpenTelemetry's variables: what they show, what they never show, and that they are optional. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createServer, type Socket } from 'node:net'
import { type Collector, type ReceivedSpan, startCollector } from '../support/collector.ts'
import { addItem, makeList, makeTenant, type Person } from '../support/people.ts'
import { postgresAvailable } from '../support/postgres.ts'
import { redisAvailable } from '../support/redis.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const backend = postgresAvailable && redisAvailable ? 'full' : 'embedded'
const serverKind = 2
const clientKind = 3
const errorStatus = 2

const callersTrace = '4bf92f3577b34da6a3ce929d0e0e4736'
const callersSpan = '00f067aa0ba902b7'
const traceparent = (sampled: boolean): string => `00-${callersTrace}-${callersSpan}-0${sampled ? 1 : 0}`

describe('traces', () => {
  let collector: Collector
  let server: TestServer
  let ann: Person

  beforeAll(async () => {
    collector = startCollector()
    server = await startServer(backend, {
      OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.url}/`,
      OTEL_EXPORTER_OTLP_HEADERS: 'x-api-key=for%20the%20collector',
      OTEL_SERVICE_NAME: 'lists',
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test,service.name=overruled',
      OTEL_BSP_SCHEDULE_DELAY: '20',
      PUBLIC_URL: 'https://lists.example.com',
    })
    ann = (await makeTenant(server)).admin
  })
  afterAll(async () => {
    await server.stop()
    await collector.stop()
  })

  const requestSpan = (name: string, matches: (span: ReceivedSpan) => boolean = () => true) =>
    until(() => collector.spans.find((span) => span.name === name && matches(span)), `the span ${name}`)
  const loggedTrace = (route: string): unknown =>
    server.log.lines.findLast(({ message, fields }) => message === 'request' && fields?.['route'] === route)
      ?.fields?.['trace_id']

  test('have a span for a request, named by its route pattern, with a child span for each database call', async () => {
    const { id } = await makeList(ann)
    await addItem(ann, id, { name: 'Secret cheese' })
    const route = '/api/v1/shopping-lists/:id/items'
    const span = await requestSpan(`POST ${route}`)
    expect(span.kind).toBe(serverKind)
    expect(span.parentSpanId ?? '').toBe('')
    expect(span.attributes).toEqual({
      'http.request.method': 'POST',
      'http.route': route,
      'http.response.status_code': 201,
      'url.scheme': 'https',
      'server.address': 'lists.example.com',
    })
    const calls = collector.spans.filter(({ parentSpanId }) => parentSpanId === span.spanId)
    expect(calls.map(({ name }) => name)).toEqual(['database write'])
    for (const call of calls) {
      expect(call.kind).toBe(clientKind)
      expect(call.traceId).toBe(span.traceId)
      expect(call.attributes).toMatchObject({ 'db.system.name': 'postgresql', 'db.operation.name': 'write' })
      expect(call.attributes['db.query.text']).toMatch(/^select from shopping_lists where .*\$1/)
    }
    expect(loggedTrace(route)).toBe(span.traceId)
    expect(collector.resource()).toMatchObject({
      'service.name': 'lists',
      'service.version': expect.any(String),
      'deployment.environment.name': 'test',
    })
  })

  test("continue the caller's trace from a traceparent, and honour its sampled flag", async () => {
    const get = (sampled: boolean) =>
      ann.api.get('/auth/sessions', { headers: { traceparent: traceparent(sampled) } })
    await get(false)
    await get(true)
    const span = await requestSpan('GET /api/v1/auth/sessions')
    expect(span.traceId).toBe(callersTrace)
    expect(span.parentSpanId).toBe(callersSpan)
    const spans = collector.spans.filter(({ traceId }) => traceId === callersTrace)
    expect(spans.filter(({ kind }) => kind === serverKind)).toHaveLength(1)
    for (const malformed of ['00-0-0-01', 'x'.repeat(5000), `${traceparent(true)}-more`])
      expect((await ann.api.get('/auth/me', { headers: { traceparent: malformed } })).status).toBe(200)
  })

  test('keep concurrent requests apart: each has its own database calls', async () => {
    const lists = await Promise.all(Array.from({ length: 10 }, () => makeList(ann)))
    const from = collector.spans.length
    await Promise.all(lists.map(({ id }) => ann.api.get(`/shopping-lists/${id}`)))
    const requests = await until(() => {
      const found = collector.spans
        .slice(from)
        .filter(({ name }) => name === 'GET /api/v1/shopping-lists/:id')
      return found.length === lists.length && found
    })
    expect(new Set(requests.map(({ traceId }) => traceId)).size).toBe(lists.length)
    for (const { spanId } of requests)
      expect(collector.spans.filter(({ parentSpanId }) => parentSpanId === spanId)).toHaveLength(1)
  })

  test('never contain a path, query, id, token, address or user input; an unknown route has no name', async () => {
    const { id } = await makeList(ann, 'Birthday surprise')
    await addItem(ann, id, { name: 'Secret cheese', note: 'hush' })
    await ann.api.get(`/users?search=somebody`)
    await fetch(`${server.url}/no/such/place/${id}?token=${ann.accessToken}`, { method: 'PROPFIND' })
    await fetch(`${server.url}/last-of-all`)
    const unknown = await requestSpan('HTTP')
    expect(unknown.attributes['http.request.method']).toBe('_OTHER')
    expect(unknown.attributes).not.toHaveProperty('http.route')
    await requestSpan('GET', ({ attributes }) => attributes['http.response.status_code'] === 404)
    const sent = collector.raw.join('\n')
    for (const secret of [id, ann.id, ann.email, ann.accessToken, ann.password, 'cheese', 'hush', 'Birthday'])
      expect(sent).not.toContain(secret)
    for (const secret of ['somebody', 'such/place', 'last-of-all', 'PROPFIND'])
      expect(sent).not.toContain(secret)
    expect(sent).toContain('["x-api-key","for the collector"]')
    expect(JSON.stringify(server.log.lines)).not.toContain('for the collector')
  })

  test('mark server errors and no client errors', async () => {
    await ann.api.post('/shopping-lists', { name: '' })
    const refused = await requestSpan(
      'POST /api/v1/shopping-lists',
      ({ attributes }) => attributes['http.response.status_code'] === 422,
    )
    expect(refused.status.code ?? 0).not.toBe(errorStatus)
  })

  test('are not recorded, nor their packages loaded, without the variables or with OTEL_SDK_DISABLED', async () => {
    const from = collector.spans.length
    const off = await startServer(backend, {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_SDK_DISABLED: 'true',
    })
    await fetch(`${off.url}/healthz`)
    expect(off.running.deps.tracing).toBeNull()
    await off.stop()
    expect(off.log.lines.find(({ message }) => message === 'request')?.fields).not.toHaveProperty('trace_id')
    expect(collector.spans.slice(from)).toEqual([])
  })
})

describe('an unavailable collector', () => {
  for (const how of ['refuses', 'is silent'] as const)
    test(`(${how}) does no harm: requests are answered, one warning is logged, and shutdown takes no longer`, async () => {
      const sockets = new Set<Socket>()
      const silent = createServer((socket) => sockets.add(socket)).listen(0, '127.0.0.1')
      await until(() => silent.listening)
      const address = silent.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      if (how === 'refuses') await new Promise((resolve) => silent.close(resolve))
      const server = await startServer(backend, {
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `http://127.0.0.1:${port}/custom`,
        OTEL_BSP_SCHEDULE_DELAY: '10',
      })
      for (let count = 0; count < 3000; count += 50) {
        const answers = await Promise.all(Array.from({ length: 50 }, () => fetch(`${server.url}/healthz`)))
        expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
      }
      if (how === 'is silent') await until(() => sockets.size > 0, 'an attempt to send')
      const begun = performance.now()
      await server.stop()
      expect(performance.now() - begun).toBeLessThan(5000)
      const warnings = server.log.lines.filter(({ message }) =>
        message.startsWith('traces could not be exported'),
      )
      expect(warnings.length).toBeLessThanOrEqual(1)
      for (const socket of sockets) socket.destroy()
      silent.close()
    })
})
