/** RATE_LIMIT_OPEN: calls that need no account and lead nowhere, by client address. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { from } from '../support/auth.ts'
import { createClient } from '../support/client.ts'
import { makeTenant, makeUser } from '../support/people.ts'
import { describeService, startServer, type TestServer } from '../support/server.ts'

describeService('RATE_LIMIT_OPEN', (backend) => {
  let server: TestServer
  let clients = 0
  beforeAll(async () => {
    server = await startServer(backend, { RATE_LIMIT_OPEN: '5/hour', TRUST_PROXY: '1' })
  })
  afterAll(() => server.stop())

  const freshClient = () => from(`192.0.2.${++clients}`).headers
  const ask = (path: string, init: RequestInit = {}) => fetch(server.url + path, init)
  const post = (path: string, body: object, headers: Record<string, string>) =>
    ask(path, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers },
    })

  const open: [string, (headers: Record<string, string>) => Promise<Response>, number][] = [
    ['an address that does not exist', (headers) => ask('/no/such/thing', { headers }), 404],
    ['one below the API', (headers) => ask('/api/v1/nothing', { headers, method: 'DELETE' }), 404],
    ['a refresh', (headers) => post('/api/v1/auth/refresh', { refresh_token: 'x' }, headers), 401],
    ['a preview', (headers) => post('/api/v1/invitations/preview', { token: 'x' }, headers), 400],
  ]

  test.each(open)('%s is limited, as other limits are', async (_what, call, status) => {
    const client = freshClient()
    for (let left = 4; left >= 0; left--) {
      const { headers, status: answered } = await call(client)
      expect([headers.get('ratelimit'), headers.get('ratelimit-policy')]).toEqual([
        expect.stringMatching(new RegExp(`^"open";r=${left};t=[1-9]\\d*$`)),
        '"open";q=5;w=3600',
      ])
      expect(answered).toBe(status)
    }
    const refused = await call(client)
    expect(refused.status).toBe(429)
    expect(refused.headers.get('retry-after')).toMatch(/^[1-9]\d{0,3}$/)
    expect(await refused.json()).toMatchObject({ code: 'rate_limited', status: 429 })
    expect((await call(freshClient())).status).toBe(status)
  })

  test('they share one limit, which nothing else counts against', async () => {
    const ann = await makeUser(server, await makeTenant(server))
    const client = freshClient()
    for (const path of [
      '/healthz',
      '/readyz',
      '/metrics',
      '/docs',
      '/redoc',
      '/openapi.json',
      '/pages/page.css',
    ])
      for (let count = 0; count < 6; count++)
        expect([path, (await ask(path, { headers: client })).status]).toEqual([path, 200])
    for (let count = 0; count < 6; count++) {
      const unseen = `/shopping-lists/${crypto.randomUUID()}`
      expect((await ann.api.get(unseen, { headers: client })).status).toBe(404)
      expect((await ask('/api/v1/auth/me', { headers: client })).status).toBe(401)
      expect((await ask('/api/v1/auth/login', { headers: client })).status).toBe(405)
    }
    const statuses: number[] = []
    for (let count = 0; count < 2; count++)
      for (const [, call] of open) statuses.push((await call(client)).status)
    expect(statuses).toEqual([404, 404, 401, 400, 404, 429, 429, 429])
    const api = createClient(server.url)
    expect((await api.post('/auth/login', server.superAdmin, { headers: client })).status).toBe(200)
  })
})
