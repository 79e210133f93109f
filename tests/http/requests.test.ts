/** What every request has: an id, a log line, and the headers for other sites' pages. */
import { afterAll, expect, test } from 'bun:test'
import { createLogger } from '../../src/log.ts'
import { freshEmail, makeList, makeTenant, superAdmin } from '../support/people.ts'
import { bytesOf, exchange } from '../support/raw-http.ts'
import {
  type Backend,
  describeService,
  sharedServer,
  startServer,
  type TestServer,
} from '../support/server.ts'
import { until } from '../support/until.ts'

/** The log's lines as they would be printed. */
function printed({ log }: TestServer): string[] {
  const lines: string[] = []
  const logger = createLogger({ level: 'debug', format: 'json', write: (line) => lines.push(line) })
  for (const { level, message, fields } of log.lines) logger[level](message, fields)
  return lines
}

const linesOf = (server: TestServer, requestId: string): Record<string, unknown>[] =>
  printed(server)
    .map((line) => JSON.parse(line))
    .filter(({ message, request_id }) => message === 'request' && request_id === requestId)

describeService('every request', (backend) => {
  test("keeps the caller's id if it is valid", async () => {
    const { url } = await sharedServer(backend)
    const good = [
      'a',
      'abc-123',
      '01890000-0000-7000-8000-000000000000',
      'Root=1-67891233-abcdef',
      'a+b/c==',
      'x'.repeat(128),
    ]
    for (const id of good)
      for (const path of ['/healthz', '/nope', '/api/v1/auth/me', '/openapi.json']) {
        const response = await fetch(`${url}${path}`, { headers: { 'x-request-id': id } })
        expect(response.headers.get('x-request-id')).toBe(id)
        const text = await response.text()
        if (!response.ok) expect(JSON.parse(text).request_id).toBe(id)
      }
  })

  test('gets a new id if it came without a valid one', async () => {
    const { url } = await sharedServer(backend)
    const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
    const bad = [
      '',
      'two words',
      'x'.repeat(129),
      '"quoted"',
      '<b>',
      '{"a":1}',
      'a,b',
      'a;b',
      'caf\u00e9',
      'a\\n',
      '%0d%0a',
    ]
    for (const id of bad) {
      const headers: [string, string][] = [['X-Request-Id', id]]
      const request = bytesOf({ method: 'GET', target: '/api/v1/auth/me', headers, body: null })
      const answer = await exchange(url, request, 5000)
      expect(answer?.headers.get('x-request-id'), id).toMatch(uuid)
      expect(JSON.parse(answer?.body.toString() ?? '').request_id).toBe(answer?.headers.get('x-request-id'))
    }
    const ids = await Promise.all(
      Array.from({ length: 20 }, async () => (await fetch(`${url}/healthz`)).headers.get('x-request-id')),
    )
    expect(new Set(ids).size).toBe(20)
  })

  test('is one line of JSON in the log, with caller, route, status and duration', async () => {
    const server = await sharedServer(backend)
    const { id: tenantId, admin } = await makeTenant(server, 'Logged')
    const root = await superAdmin(server)
    const { id } = await makeList(admin)
    const call = async (method: string, path: string, token?: string, body?: string): Promise<unknown> => {
      const requestId = crypto.randomUUID()
      const response = await fetch(`${server.url}${path}`, {
        method,
        headers: {
          'x-request-id': requestId,
          'content-type': 'application/json',
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
        ...(body === undefined ? {} : { body }),
      })
      await response.arrayBuffer()
      await until(() => linesOf(server, requestId).length > 0, 'the line')
      const [line, ...more] = linesOf(server, requestId)
      expect(more).toEqual([])
      expect(line).toMatchObject({ level: 'info', request_id: requestId })
      expect(line?.['time']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      expect(line?.['ms']).toBeNumber()
      const { method: sent, route, status, tenant_id, user_id } = line ?? {}
      return [sent, route, status, tenant_id, user_id]
    }
    const token = admin.accessToken
    const lists = '/api/v1/shopping-lists'
    expect(await call('GET', `${lists}/${id}`, token)).toEqual([
      'GET',
      `${lists}/:id`,
      200,
      tenantId,
      admin.id,
    ])
    expect(await call('GET', `${lists}?limit=5`, token)).toEqual(['GET', lists, 200, tenantId, admin.id])
    expect(await call('POST', lists, token, '{}')).toEqual(['POST', lists, 422, tenantId, admin.id])
    expect(await call('POST', lists, token, '{')).toEqual(['POST', lists, 400, tenantId, admin.id])
    expect(await call('GET', `${lists}/${root.id}`, token)).toEqual([
      'GET',
      `${lists}/:id`,
      404,
      tenantId,
      admin.id,
    ])
    // Refusals to strangers that a test before made too many of are left out for a second.
    await until(async () => {
      const headers = { 'x-request-id': crypto.randomUUID() }
      await (await fetch(`${server.url}/nope`, { headers })).arrayBuffer()
      return linesOf(server, headers['x-request-id']).length > 0
    }, 'a second without a flood')
    expect(await call('GET', lists)).toEqual(['GET', lists, 401, null, null])
    expect(await call('GET', lists, root.accessToken)).toEqual(['GET', lists, 403, null, root.id])
    expect(await call('GET', '/nope')).toEqual(['GET', 'none', 404, null, null])
    expect(await call('PUT', lists)).toEqual(['PUT', 'none', 405, null, null])
    expect(await call('HEAD', `${lists}/${id}`, token)).toEqual([
      'HEAD',
      `${lists}/:id`,
      200,
      tenantId,
      admin.id,
    ])
    expect(await call('POST', lists, token, ' '.repeat(1_048_577))).toEqual([
      'POST',
      lists,
      413,
      tenantId,
      admin.id,
    ])
  })

  test('leaves no token, password, code or personal address in the log', async () => {
    const server = await sharedServer(backend)
    const { admin } = await makeTenant(server, 'Discreet')
    const headers = { authorization: `Bearer ${admin.accessToken}`, 'x-request-id': admin.accessToken }
    for (const path of ['/invite', '/reset-password', '/nope', '/api/v1/shopping-lists', '/healthz', '/ws'])
      for (const token of [admin.accessToken, admin.refreshToken])
        await (await fetch(`${server.url}${path}?token=${token}`, { headers })).arrayBuffer()
    await (await fetch(`${server.url}/${admin.accessToken}`, { method: 'POST', headers })).arrayBuffer()
    const email = freshEmail('unlogged')
    await admin.api.post('/users', { email, full_name: 'U', password: 'an unlogged passphrase' })
    await server.inbox.waitFor(email)
    const log = printed(server).join('')
    const [, payload = '', signature = ''] = admin.accessToken.split('.')
    const secrets = [admin.accessToken, payload, signature, admin.refreshToken, admin.password]
    for (const secret of [...secrets, 'an unlogged passphrase', email, admin.email])
      expect(log).not.toContain(secret)
    for (const line of log.trimEnd().split('\n')) expect(JSON.parse(line)).toBeObject()
  })

  test('finds its route whatever the Host, however short', async () => {
    const { url } = await sharedServer(backend)
    for (const host of ['api', 'x', 'localhost', 'shop.example.com:8080'])
      expect((await fetch(`${url}/healthz`, { headers: { host } })).status).toBe(200)
  })

  test('is answered with headers that stop browsers from sniffing, framing and sending referrers', async () => {
    const { url } = await sharedServer(backend)
    for (const path of ['/healthz', '/nope', '/api/v1/auth/me', '/docs', '/invite']) {
      const { headers } = await fetch(`${url}${path}`)
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('x-frame-options')).toBe('DENY')
      expect(headers.get('referrer-policy')).toBe('no-referrer')
      expect(headers.get('server')).toBeNull()
    }
  })

  const evil = [
    'https://evil.example',
    'https://shop.example.com.evil.example',
    'https://evilshop.example.com',
    'http://shop.example.com',
    'https://shop.example.com:444',
    'https://SHOP.example.com.',
    'null',
  ]
  const preflight = {
    'access-control-request-method': 'PATCH',
    'access-control-request-headers': 'authorization',
  }

  test('from another site gets no CORS headers by default', async () => {
    const { url } = await sharedServer(backend)
    for (const origin of [...evil, 'https://shop.example.com'])
      for (const method of ['GET', 'OPTIONS', 'POST']) {
        const response = await fetch(`${url}/api/v1/auth/me`, { method, headers: { origin, ...preflight } })
        const names = [...response.headers.keys()].filter((name) => name.startsWith('access-control-'))
        expect(names, `${method} from ${origin}`).toEqual([])
      }
  })

  test('from a site in CORS_ORIGINS gets CORS headers, on errors too, and from no other', async () => {
    const { url } = await openServer(backend)
    const good = ['https://shop.example.com', 'http://localhost:3000']
    for (const path of ['/api/v1/auth/me', '/api/v1/auth/login', '/nope', '/healthz'])
      for (const method of ['GET', 'OPTIONS'])
        for (const origin of [...good, ...evil]) {
          const response = await fetch(`${url}${path}`, { method, headers: { origin, ...preflight } })
          const allowed = response.headers.get('access-control-allow-origin')
          expect(allowed, `${method} ${path} from ${origin}`).toBe(good.includes(origin) ? origin : null)
          expect(response.headers.get('access-control-allow-credentials')).toBeNull()
          expect(response.headers.get('vary')).toContain('Origin')
        }
    const allowed = await fetch(`${url}/api/v1/items/x`, {
      method: 'OPTIONS',
      headers: { origin: 'https://shop.example.com', ...preflight },
    })
    expect(allowed.status).toBe(204)
    expect(allowed.headers.get('access-control-allow-methods')).toContain('PATCH')
    expect(allowed.headers.get('access-control-allow-headers')?.toLowerCase()).toContain('authorization')
    expect(allowed.headers.get('access-control-expose-headers')).toContain('ETag')
  })

  test('to an unknown path gets its 404 with CORS_ORIGINS set, too', async () => {
    const { url } = await openServer(backend)
    expect((await fetch(`${url}/nope`)).status).toBe(404)
    const wrong = await fetch(`${url}/api/v1/auth/login`)
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST'])
  })
})

const open = new Map<Backend, Promise<TestServer>>()

function openServer(backend: Backend): Promise<TestServer> {
  const server =
    open.get(backend) ??
    startServer(backend, { CORS_ORIGINS: 'https://shop.example.com, http://localhost:3000' })
  open.set(backend, server)
  return server
}

afterAll(async () => {
  for (const server of open.values()) await (await server).stop()
})
