/** Methods, paths and queries that do not exist: 404, 405 with Allow, 422, and never a 500. */
import { expect, test } from 'bun:test'
import { createClient } from '../support/client.ts'
import { makeList, makeTenant, type Person } from '../support/people.ts'
import { bytesOf, exchange } from '../support/raw-http.ts'
import { type Backend, describeService, oncePerBackend, sharedServer } from '../support/server.ts'

interface Visit {
  url: string
  person: Person
  /** Sends the target verbatim; `fetch` would normalise it. */
  raw(
    method: string,
    target: string,
    headers?: [string, string][],
    body?: string,
  ): Promise<{ status: number; headers: Map<string, string>; text: string }>
}

const visitOf = oncePerBackend(makeVisit)

async function makeVisit(backend: Backend): Promise<Visit> {
  const server = await sharedServer(backend)
  const { admin: person } = await makeTenant(server, 'Addresses')
  return {
    url: server.url,
    person,
    async raw(method, target, headers = [], text) {
      const signedIn: [string, string][] = [['Authorization', `Bearer ${person.accessToken}`], ...headers]
      const body = text === undefined ? null : Buffer.from(text)
      const answer = await exchange(server.url, bytesOf({ method, target, headers: signedIn, body }), 5000)
      if (answer === null) throw new Error(`${method} ${target}: closed without an answer`)
      return { status: answer.status, headers: answer.headers, text: answer.body.toString() }
    },
  }
}

const allowed: Record<string, string> = {
  '/healthz': 'GET, HEAD',
  '/openapi.json': 'GET, HEAD',
  '/api/v1/auth/login': 'POST',
  '/api/v1/auth/me': 'GET, HEAD, PATCH',
  '/api/v1/auth/sessions/01890000-0000-7000-8000-000000000000': 'DELETE',
  '/api/v1/tenants': 'GET, HEAD, POST',
  '/api/v1/tenants/01890000-0000-7000-8000-000000000000': 'DELETE, GET, HEAD, PATCH',
  '/api/v1/users/no-id': 'DELETE, GET, HEAD, PATCH',
  '/api/v1/shopping-lists/no-id/items': 'GET, HEAD, POST',
  '/api/v1/shopping-lists/no-id/items/clear-purchased': 'POST',
  '/api/v1/items/no-id': 'DELETE, PATCH',
  '/api/v1/invitations/accept': 'POST',
}

describeService('a path', (backend) => {
  test('asked with an unsupported method lists the supported ones', async () => {
    const { url } = await visitOf(backend)
    for (const [path, allow] of Object.entries(allowed))
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'TRACE']) {
        if (allow.split(', ').includes(method)) continue
        for (const address of [path, `${path}/`]) {
          const response = await fetch(`${url}${address}`, { method })
          const text = await response.text()
          expect(response.status, `${method} ${address}`).toBe(405)
          expect(response.headers.get('allow')).toBe(allow)
          expect(response.headers.get('content-type')).toBe('application/problem+json')
          if (method !== 'TRACE') expect(JSON.parse(text).code).toBe('method_not_allowed')
        }
      }
  })

  test('answers HEAD as GET, without the body', async () => {
    const { url, person } = await visitOf(backend)
    const headers = { authorization: `Bearer ${person.accessToken}` }
    const { id } = await makeList(person)
    const paths = [
      '/healthz',
      '/api/v1/auth/me',
      `/api/v1/shopping-lists/${id}`,
      '/docs',
      '/api/v1/tenants',
      '/nope',
    ]
    for (const path of paths) {
      const get = await fetch(`${url}${path}`, { headers })
      await get.arrayBuffer()
      const head = await fetch(`${url}${path}`, { headers, method: 'HEAD' })
      expect(await head.text(), path).toBe('')
      expect(head.status, path).toBe(get.status)
      for (const name of ['content-type', 'etag', 'cache-control'])
        expect(head.headers.get(name)).toBe(get.headers.get(name))
    }
    expect((await fetch(`${url}/api/v1/auth/me`, { method: 'HEAD' })).status).toBe(401)
  })

  test('that does not exist answers 404 to anyone, by any method', async () => {
    const { url, raw } = await visitOf(backend)
    const paths = [
      '/',
      '/nope',
      '/api',
      '/api/v1',
      '/api/v2/auth/me',
      '/api/v1/auth',
      '/api/v1/items',
      '/%ff',
    ]
    for (const path of [
      ...paths,
      '/api/v1/lists/%00',
      '/healthz/x',
      '/%2e%2e/%2e%2e/etc/passwd',
      '/API/V1/auth/me',
    ])
      for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS']) {
        const response = await fetch(`${url}${path}`, { method })
        expect(response.status, `${method} ${path}`).toBe(404)
        expect(await response.json()).toMatchObject({ code: 'not_found', status: 404 })
        expect((await raw(method, path)).status, `${method} ${path}`).toBe(404)
      }
  })

  test('may end with a slash', async () => {
    const { url, person } = await visitOf(backend)
    const headers = { authorization: `Bearer ${person.accessToken}` }
    const { id } = await makeList(person)
    for (const path of [
      '/healthz',
      '/api/v1/auth/me',
      '/api/v1/shopping-lists',
      `/api/v1/shopping-lists/${id}`,
    ])
      for (const address of [path, `${path}/`])
        expect((await fetch(`${url}${address}`, { headers })).status, address).toBe(200)
  })

  test('with an invalid id is refused by name, however it is written', async () => {
    const { raw } = await visitOf(backend)
    const oddities = [
      '%00',
      '%ff',
      '%',
      '%zz',
      '%2F',
      '%2e%2e%2f',
      '%E0%A4%A',
      '%F0%9F%9B%92',
      '%0d%0aX:y',
      '*',
      ':id',
    ]
    const ids = [
      ...oddities,
      '0',
      'null',
      "'",
      '%27%20or%201=1',
      '01890000-0000-7000-8000-00000000000',
      '{id}',
    ]
    const id = '01890000-0000-7000-8000-000000000000'
    for (const odd of [...ids, `${id}%00`, `${id}%20`, `{${id}}`, `urn:uuid:${id}`, 'x'.repeat(8000)])
      for (const [method, target] of [
        ['GET', `/api/v1/shopping-lists/${odd}`],
        ['GET', `/api/v1/users/${odd}`],
        ['DELETE', `/api/v1/items/${odd}`],
        ['DELETE', `/api/v1/shopping-lists/${id}/members/${odd}`],
      ] as const) {
        const answer = await raw(method, target)
        expect(answer.status, `${method} ${target.slice(0, 100)}`).toBe(422)
        const { errors } = JSON.parse(answer.text)
        expect(errors[0].field).toBe(target.includes('/members/') ? 'user_id' : 'id')
      }
  })

  test('treats ids in capitals as the same ids', async () => {
    const { person } = await visitOf(backend)
    const { id } = await makeList(person)
    expect((await person.api.get(`/shopping-lists/${id.toUpperCase()}`)).body.id).toBe(id)
    expect((await person.api.get(`/users/${person.id.toUpperCase()}`)).body.id).toBe(person.id)
  })

  test('of excessive length is refused without harm', async () => {
    const { raw, url } = await visitOf(backend)
    for (const target of [`/api/v1/shopping-lists/${'a'.repeat(20_000)}`, `/healthz?${'a=b&'.repeat(8000)}`])
      expect((await raw('GET', target)).status).toBe(431)
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
  })

  test('with an odd query is answered or refused, never a 500', async () => {
    const { raw } = await visitOf(backend)
    const queries = [
      ...['limit[]=1', 'limit.x=1'],
      ...[
        '%',
        '%ff',
        'cursor=%ff',
        'cursor=%',
        'cursor=%ed%a0%80',
        'limit=%00',
        '&&&',
        '=',
        '?',
        'limit',
        'a=1#b',
      ],
      ...[
        '__proto__=1',
        '__proto__[x]=1',
        'constructor=1',
        `cursor=${'x'.repeat(8000)}`,
        `${'a=1&'.repeat(1000)}`,
      ],
    ]
    for (const query of queries)
      for (const path of ['/api/v1/shopping-lists', '/api/v1/users']) {
        const { status, text } = await raw('GET', `${path}?${query}`)
        expect([200, 422], `${path}?${query}: ${text}`).toContain(status)
      }
  })

  test('with a repeated parameter is refused, naming it, and only once the caller is known', async () => {
    const { person, url } = await visitOf(backend)
    for (const query of ['limit=1&limit=2', 'limit=1&cursor=x&limit=1', 'limit=1&l%69mit=1']) {
      const { status, body } = await person.api.get(`/users?${query}`)
      expect(status).toBe(422)
      expect(body.errors).toEqual([{ field: 'limit', message: 'must not be given more than once' }])
      expect((await createClient(url).get(`/users?${query}`)).status).toBe(401)
    }
  })

  test('asked with GET or DELETE ignores a body', async () => {
    const { person, raw } = await visitOf(backend)
    const type: [string, string][] = [['Content-Type', 'application/json']]
    expect((await raw('GET', '/api/v1/auth/me', type, '{"x":1}')).status).toBe(200)
    expect((await raw('GET', '/api/v1/auth/me', [], 'not json')).status).toBe(200)
    const { id } = await makeList(person)
    expect((await raw('DELETE', `/api/v1/shopping-lists/${id}`, type, '{}')).status).toBe(204)
  })

  test('reveals nothing in a problem that its caller did not know', async () => {
    const { url } = await visitOf(backend)
    const { body } = await createClient(url).get('/auth/me')
    expect(Object.keys(body).sort()).toEqual(['code', 'detail', 'request_id', 'status', 'title', 'type'])
  })
})
