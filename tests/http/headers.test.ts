/**
 * The headers for browsers and proxies, on every route and every error; read from the route table so that new routes are
 * covered too.
 */
import { afterAll, expect, test } from 'bun:test'
import { createDocumentedApp } from '../../src/app.ts'
import { exchange } from '../support/raw-http.ts'
import {
  describeBackends,
  describeService,
  sharedServer,
  startServer,
  type TestServer,
} from '../support/server.ts'
import { makeWorld } from './fuzz/world.ts'
import { inputRoutes, jsonType, send, settingOf } from './input/routes.ts'

const routes = createDocumentedApp()
  .routes.filter(({ method }) => method !== 'OPTIONS')
  .map(({ method, path }) => ({ method, path: path.replace(/(?<=.)\/$/, '') }))

const expected: Record<string, string> = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()',
}
const nothing = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"
const banner = /^(server|x-powered-by|via|x-aspnet-version|x-runtime|x-generator)$/i

/** What may be cached, and how; all other answers are personal, secret or momentary. */
const kept: [RegExp, string][] = [
  [/^\/docs\/assets\//, 'public, max-age=31536000, immutable'],
  [/^\/pages\//, 'public, max-age=300'],
  [/^\/(docs|redoc)(\/start\.js)?$|^\/openapi\.json$/, 'no-cache'],
]
const isPage = (path: string): boolean => /^\/(docs|redoc|invite|reset-password|pages\/.+)$/.test(path)

/** The faults of an answer's headers. */
function faults(path: string, { status, headers }: { status: number; headers: Headers }): string[] {
  const sent = Object.fromEntries(headers)
  const policy = sent['content-security-policy'] ?? ''
  const strict = isPage(path) && status === 200 ? isStrict(policy) : policy === nothing
  const keeping = (status < 300 && kept.find(([pattern]) => pattern.test(path))?.[1]) || 'no-store'
  return [
    ...Object.entries(expected).flatMap(([name, value]) =>
      sent[name] === value ? [] : [`${name}: ${sent[name]}`],
    ),
    ...(strict ? [] : [`content-security-policy: ${policy}`]),
    ...(sent['cache-control'] === keeping ? [] : [`cache-control: ${sent['cache-control']}`]),
    ...Object.keys(sent).filter((name) => banner.test(name) || name.startsWith('access-control-')),
    ...('set-cookie' in sent || 'location' in sent ? ['a cookie or a redirect'] : []),
  ].map((fault) => `${path} ${status} ${fault}`)
}

/** Whether the policy restricts every source, and scripts to this server's files. */
const isStrict = (policy: string): boolean =>
  policy.startsWith("default-src 'none'; script-src 'self';") &&
  policy.endsWith("frame-ancestors 'none'") &&
  policy.includes("base-uri 'none'") &&
  !/unsafe-eval|https?:|\*/.test(policy)

const fill = (path: string): string => path.replace(/:\w+/g, '01890000-0000-7000-8000-000000000000')

describeService('the headers', (backend) => {
  test('of every route and error stop browsers from sniffing, framing, caching and running anything', async () => {
    const { server, world } = await settingOf(backend)
    const attempts: Record<string, Record<string, string>> = {
      nobody: {},
      stranger: { authorization: 'Bearer nonsense' },
      member: { authorization: `Bearer ${world.tokens['owner']}` },
      guest: jsonType,
      admin: { authorization: `Bearer ${world.tokens['root']}`, ...jsonType },
    }
    const statuses = new Set<number>()
    for (const { method, path } of routes.filter(({ path }) => !path.endsWith('/logout')))
      for (const headers of Object.values(attempts)) {
        const response = await fetch(`${server.url}${fill(path)}`, {
          method: method === 'WS' ? 'GET' : method,
          headers,
          redirect: 'manual',
          ...(method === 'POST' || method === 'PATCH'
            ? { body: headers === attempts['admin'] ? '{"x":1}' : '{' }
            : {}),
        })
        await response.arrayBuffer()
        statuses.add(response.status)
        expect(faults(path, response)).toEqual([])
      }
    for (const [method, path] of [
      ...[
        ['GET', '/nope'],
        ['PUT', '/api/v1/auth/me'],
        ['HEAD', '/docs'],
        ['HEAD', '/api/v1/auth/me'],
      ],
      ...[
        ['OPTIONS', '/healthz'],
        ['GET', '/'],
        ['POST', '/invite'],
        ['GET', '/api/v1/items/x'],
      ],
    ] as [string, string][]) {
      const response = await fetch(`${server.url}${path}`, { method })
      statuses.add(response.status)
      expect(faults(path, response)).toEqual([])
    }
    for (const status of [200, 400, 401, 403, 404, 405, 415, 422, 426])
      expect([...statuses]).toContain(status)
  })

  test('forbid caching of personal and empty answers', async () => {
    const server = await sharedServer(backend)
    const world = await makeWorld(server)
    const done = new Set<number>()
    const pages = inputRoutes.filter(({ target }) => target.startsWith('/api/v1/'))
    for (const route of [
      ...pages.filter(({ method }) => method === 'GET'),
      ...pages.filter(({ method }) => method === 'DELETE'),
    ]) {
      const answer = await fetch(`${server.url}${fillIds(route.target, world.names)}`, {
        method: route.method,
        headers: { authorization: `Bearer ${world.tokens[route.caller]}` },
      })
      await answer.arrayBuffer()
      done.add(answer.status)
      expect(answer.headers.get('cache-control'), `${route.method} ${route.target}`).toBe('no-store')
    }
    expect([...done]).toContain(200)
    expect([...done]).toContain(204)
    const { names } = world
    const login = { email: names['otherEmail'], password: names['password'] }
    const signedIn = await fetch(`${server.url}/api/v1/auth/login`, {
      method: 'POST',
      headers: jsonType,
      body: JSON.stringify(login),
    })
    expect([signedIn.status, signedIn.headers.get('cache-control')]).toEqual([200, 'no-store'])
  })

  test('name no software or version, even where the HTTP server itself refuses a request', async () => {
    const { url } = await sharedServer(backend)
    const refused = {
      400: 'nonsense\r\n\r\n',
      431: `GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(100_000)}\r\n\r\n`,
      505: 'GET / HTTP/9.9\r\nHost: a\r\n\r\n',
    }
    for (const [status, bytes] of Object.entries(refused)) {
      const answer = await exchange(url, Buffer.from(bytes), 5000)
      expect(answer?.status).toBe(Number(status))
      expect([...(answer?.headers ?? [])].flat().join()).not.toMatch(/bun|elysia|uws|server/i)
      expect(answer?.body.toString()).toBe('')
    }
    for (const path of ['/docs', '/redoc', '/invite', '/nope', '/healthz', '/readyz']) {
      const text = await (await fetch(`${url}${path}`)).text()
      expect(text, path).not.toMatch(/\bbun\b|elysia|postgresql|pglite|"version"|generator/i)
    }
  })
})

const fillIds = (target: string, names: Record<string, string>): string =>
  target.replace(/§(\w+)§/g, (_, name: string) => names[name] ?? 'missing')

/** Words that only internals use. */
const inside =
  /node_modules|\/src\/|\bat .+[:(]\d+|\.ts\b|\bbun\b|elysia|typebox|drizzle|postgres|pglite|sqlstate|argon2|select .+ from|insert into|undefined|TypeError|\[object/i

describeBackends('an error', (backend) => {
  test('reveals no stack, path, statement or library, on any route, whatever is wrong', async () => {
    const setting = await settingOf(backend)
    const bodies = [
      '{',
      '[]',
      '{"x":1}',
      '{"name":{},"email":[],"token":1}',
      `{"a":${'['.repeat(20)}${']'.repeat(20)}}`,
    ]
    const seen = new Set<number>()
    for (const route of inputRoutes)
      for (const body of route.method === 'GET' || route.method === 'DELETE' ? [undefined] : bodies)
        for (const query of ['', '?limit=x&cursor=%00&since=-1&search=%00&x=1']) {
          const caller = query === '' ? route.caller : 'viewer'
          if (route.target.endsWith('/logout')) continue
          if (body === undefined && query === '' && route.method === 'DELETE') continue
          const answer = await send(setting, { ...route, caller }, { headers: jsonType, body, query })
          seen.add(answer.status)
          if (answer.status >= 400) expect(answer.text, route.target).not.toMatch(inside)
          expect(answer.status).toBeLessThan(500)
        }
    for (const status of [400, 403, 422]) expect([...seen]).toContain(status)
  })
})

test('an internal error is reported without details', async () => {
  // These routes have no dependencies, so the first one they touch is missing.
  const request = new Request('http://localhost/api/v1/auth/login', {
    method: 'POST',
    headers: jsonType,
    body: '{"email":"a@b.example","password":"x"}',
  })
  const answer = await createDocumentedApp().handle(request)
  const text = await answer.text()
  expect([answer.status, JSON.parse(text).code]).toEqual([500, 'internal_error'])
  expect(text).not.toMatch(inside)
  expect(faults('/api/v1/auth/login', answer)).toEqual([])
})

let behindTls: Promise<TestServer> | undefined
const tlsServer = (): Promise<TestServer> => {
  behindTls ??= startServer('embedded', { PUBLIC_URL: 'https://shop.example.com' })
  return behindTls
}
afterAll(async () => (await behindTls)?.stop())

test('behind TLS every answer has HSTS; elsewhere none does', async () => {
  const [tls, plain] = [await tlsServer(), await sharedServer('embedded')]
  for (const path of [
    '/docs',
    '/invite',
    '/pages/page.js',
    '/healthz',
    '/nope',
    '/api/v1/auth/me',
    '/openapi.json',
  ]) {
    const over = await fetch(`${tls.url}${path}`)
    expect(over.headers.get('strict-transport-security'), path).toBe('max-age=31536000')
    expect((await fetch(`${plain.url}${path}`)).headers.has('strict-transport-security')).toBe(false)
  }
})
