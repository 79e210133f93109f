/** Every limited route enforces its limits and reports their state in its answers' headers. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { get, type IncomingHttpHeaders } from 'node:http'
import { createDocumentedApp } from '../../src/app.ts'
import { openapiDocument } from '../../src/http/docs/openapi.ts'
import { type Answer, createClient } from '../support/client.ts'
import { isRecord } from '../support/json-schema.ts'
import { freshEmail } from '../support/people.ts'
import { postgresAvailable } from '../support/postgres.ts'
import { redisAvailable } from '../support/redis.ts'
import { sharedServer, startServer, type TestServer } from '../support/server.ts'

/** The headers do not depend on the backend, so the faster one will do. */
const backend = postgresAvailable && redisAvailable ? 'full' : 'embedded'
const fields = ['ratelimit', 'ratelimit-policy', 'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset']
const from = (address: string) => ({ headers: { 'x-forwarded-for': address } })

/** Calls left of each limit, e.g. `{"user": 5}`; the field must be a list of strings with parameters (RFC 9651). */
function left({ headers }: { headers: Headers }): Record<string, number> {
  const members = (headers.get('ratelimit') ?? '').split(', ')
  return Object.fromEntries(
    members.map((member) => {
      const [, name, remaining] = /^"([a-z-]+)";r=(\d+);t=[1-9]\d*$/.exec(member) ?? []
      if (name === undefined) throw new Error(`not a limit: ${member}`)
      return [name, Number(remaining)]
    }),
  )
}

interface Operation {
  method: string
  path: string
  /** Whether the document describes the limit, both by a 429 and by the fields of its successes. */
  limited: boolean
  example: unknown
}

const inside = (place: unknown, ...keys: string[]): unknown =>
  keys.reduce<unknown>((found, key) => (isRecord(found) ? found[key] : undefined), place)
const entries = (place: unknown): [string, unknown][] => Object.entries(isRecord(place) ? place : {})

/** Every operation below /api in the OpenAPI document. */
async function allOperations(): Promise<Operation[]> {
  const document = await openapiDocument(createDocumentedApp())
  return entries(inside(document, 'paths'))
    .filter(([path]) => path.startsWith('/api/'))
    .flatMap(([path, methods]) =>
      entries(methods).map(([method, operation]) => {
        const answers = entries(inside(operation, 'responses')).filter(([status]) =>
          /^(2|3|429)/.test(status),
        )
        const telling = answers.filter(([, answer]) =>
          fields.every((field) =>
            entries(inside(answer, 'headers')).some(([name]) => name.toLowerCase() === field),
          ),
        )
        const limited = answers.some(([status]) => status === '429')
        expect([method, path, telling.length]).toEqual([method, path, limited ? answers.length : 0])
        const example = inside(operation, 'requestBody', 'content', 'application/json', 'example')
        return { method: method.toUpperCase(), path, limited, example }
      }),
    )
}

describe('rate limit headers', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await startServer(backend, {
      RATE_LIMIT_AUTH: '10/day',
      RATE_LIMIT_API: '6/day',
      RATE_LIMIT_OPEN: '1/day',
      TRUST_PROXY: '1',
      CORS_ORIGINS: 'https://shop.example',
    })
  })
  afterAll(() => server.stop())

  test('a sign-in, right or wrong, reports the limits of address and account; a 429 the one that was hit', async () => {
    const { email, password } = server.superAdmin
    const attempt = (account: string, secret = 'not the password') =>
      createClient(server.url).post('/auth/login', { email: account, password: secret }, from('192.0.2.1'))
    const first = await attempt(freshEmail())
    expect([first.status, left(first)]).toEqual([401, { 'auth-address': 9, 'auth-account': 9 }])
    expect(first.headers.get('ratelimit-policy')).toBe(
      '"auth-address";q=10;w=86400, "auth-account";q=10;w=86400',
    )
    const right = await attempt(email, password)
    expect([right.status, left(right)]).toEqual([200, { 'auth-address': 8, 'auth-account': 9 }])
    expect(['limit', 'remaining'].map((name) => right.headers.get(`ratelimit-${name}`))).toEqual(['10', '8'])
    for (let count = 0; count < 8; count++) await attempt(freshEmail())
    const refused = await attempt(freshEmail())
    expect([refused.status, left(refused)]).toEqual([429, { 'auth-address': 0 }])
    const retryAfter = refused.headers.get('retry-after')
    expect(refused.headers.get('ratelimit')).toBe(`"auth-address";r=0;t=${retryAfter}`)
    expect(refused.headers.get('ratelimit-reset')).toBe(retryAfter)
  })

  test('every call of a user counts, whatever the answer; past the limits no route works', async () => {
    const { body } = await createClient(server.url).post('/auth/login', server.superAdmin, from('192.0.2.2'))
    const api = createClient(server.url, body.access_token)
    const seen: unknown[] = []
    const note = (answer: Answer): void => void seen.push([answer.status, left(answer)])
    note(await api.get('/auth/me'))
    note(await api.get('/shopping-lists'))
    note(await api.get('/tenants/01890000-0000-7000-8000-000000000000'))
    note(await api.post('/tenants', {}))
    const guess = { current_password: 'a guess', new_password: 'another long one' }
    note(await api.post('/auth/change-password', guess, from('192.0.2.3')))
    note(await api.get('/tenants'))
    expect(seen).toEqual([
      [200, { user: 5 }],
      [403, { user: 4 }],
      [404, { user: 3 }],
      [422, { user: 2 }],
      [400, { user: 1, 'auth-session': 9 }],
      [200, { user: 0 }],
    ])

    // The test before used up 192.0.2.1 for sign-ins.
    expect((await fetch(`${server.url}/nowhere`, from('192.0.2.1'))).status).toBe(404)
    const open: string[] = []
    for (const { method, path, limited, example } of await allOperations()) {
      const response = await fetch(server.url + path.replaceAll(/\{\w+\}/g, crypto.randomUUID()), {
        method,
        headers: {
          ...from('192.0.2.1').headers,
          authorization: `Bearer ${body.access_token}`,
          'content-type': 'application/json',
        },
        ...(method === 'GET' || method === 'DELETE' ? {} : { body: JSON.stringify(example ?? {}) }),
      })
      await response.text()
      const present = fields.filter((field) => response.headers.has(field)).length
      const closed = response.status === 429 && response.headers.has('retry-after')
      expect([method, path, closed, present]).toEqual([method, path, limited, limited ? fields.length : 0])
      if (!limited) open.push(path)
    }
    expect(open).toEqual([])
  })

  test('pages of other origins may read the headers', async () => {
    const { headers } = await fetch(`${server.url}/healthz`, { headers: { origin: 'https://shop.example' } })
    const exposed = (headers.get('access-control-expose-headers') ?? '').toLowerCase().split(/, ?/)
    expect(exposed).toEqual(expect.arrayContaining([...fields, 'retry-after']))
  })

  test('a socket upgrade carries no limit headers', async () => {
    const { body } = await createClient(server.url).post('/auth/login', server.superAdmin, from('192.0.2.4'))
    const upgraded = Promise.withResolvers<IncomingHttpHeaders>()
    const handshake = get(`${server.url}/ws?token=${body.access_token}`, {
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      },
    })
    handshake.on('error', upgraded.reject)
    handshake.on('upgrade', ({ headers }, socket) => {
      socket.destroy()
      upgraded.resolve(headers)
    })
    const headers = await upgraded.promise
    expect(headers.upgrade).toBe('websocket')
    expect(fields.filter((field) => field in headers)).toEqual([])
  })

  test('disabled limits are not reported', async () => {
    const { url, superAdmin } = await sharedServer(backend)
    const login = await createClient(url).post('/auth/login', superAdmin)
    const me = await createClient(url, login.body.access_token).get('/auth/me')
    for (const { status, headers } of [login, me])
      expect([status, fields.filter((field) => headers.has(field))]).toEqual([200, []])
  })
})
