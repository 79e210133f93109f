/** What probes and dashboards read (CONTRACT section 8), also when the database or Redis is unavailable. */
import { expect, test } from 'bun:test'
import { createClient } from '../support/client.ts'
import { makeList, makeTenant, signIn } from '../support/people.ts'
import { describePrivatePostgres, startPostgres, testPostgres } from '../support/postgres.ts'
import { startProxy } from '../support/proxy.ts'
import { describePrivateRedis, startRedis } from '../support/redis.ts'
import {
  describeBackends,
  describeFull,
  sharedServer,
  startServer,
  type TestServer,
} from '../support/server.ts'
import { until } from '../support/until.ts'

const readiness = async ({ url }: TestServer) => {
  const response = await fetch(`${url}/readyz`)
  return { status: response.status, body: (await response.json()) as Record<string, string> }
}

describeBackends('a probe', (backend) => {
  test('reports the process alive and the service ready, each part by name, as plain JSON without a token', async () => {
    const server = await sharedServer(backend)
    const alive = await fetch(`${server.url}/healthz`)
    expect(alive.status).toBe(200)
    expect(alive.headers.get('content-type')).toMatch(/^application\/json/)
    expect(alive.headers.get('cache-control')).toBe('no-store')
    expect(await alive.json()).toEqual({ status: 'ok' })
    expect(await readiness(server)).toEqual({
      status: 200,
      body: {
        status: 'ready',
        database: 'up',
        migrations: 'current',
        redis: backend === 'full' ? 'up' : 'not_used',
      },
    })
  })

  test('reads metrics labelled by route pattern: no id, address or token is ever a label', async () => {
    const server = await sharedServer(backend)
    const { id: tenantId, admin } = await makeTenant(server, 'Measured')
    const list = await makeList(admin)
    await admin.api.get(`/shopping-lists/${list.id}`)
    await admin.api.get(`/users?search=someone`)
    await fetch(`${server.url}/no/such/place-${list.id}`)
    await fetch(`${server.url}/api/v1/auth/me`, { method: 'PROPFIND' })
    await fetch(`${server.url}/invite?token=${admin.accessToken}`)
    const response = await fetch(`${server.url}/metrics`)
    expect(response.headers.get('content-type')).toMatch(/^text\/plain/)
    const text = await response.text()
    for (const secret of [list.id, tenantId, admin.id, admin.email, admin.accessToken, 'someone', 'place-'])
      expect(text).not.toContain(secret)
    for (const [method, route, status] of [
      ['GET', '/api/v1/shopping-lists/:id', '200'],
      ['GET', '/api/v1/users', '200'],
      ['POST', '/api/v1/shopping-lists', '201'],
      ['GET', 'none', '404'],
      ['other', 'none', '405'],
    ])
      expect(text).toMatch(
        new RegExp(
          `^minimart_http_request_duration_seconds_count\\{method="${method}",route="${route}",status="${status}"\\} [1-9]`,
          'm',
        ),
      )
    for (const line of text.split('\n')) expect(line).toMatch(/^(#.*|[a-z_]+(\{[^}]*\})? [\d.e+-]+|)$/)
  })
})

const unready = (server: TestServer, part: string) => async (): Promise<boolean> => {
  const { status, body } = await readiness(server)
  return status === 503 && body['status'] === 'not_ready' && body[part] === 'down'
}
const ready = (server: TestServer) => async (): Promise<boolean> => (await readiness(server)).status === 200

describePrivatePostgres('without its database', () => {
  for (const how of ['clean', 'crash'] as const)
    test(`the service (stop: ${how}) is alive but not ready, answers 503 with Retry-After, and recovers by itself`, async () => {
      const postgres = await startPostgres()
      const database = await postgres.createDatabase()
      const server = await startServer('full', { DATABASE_URL: database.url })
      try {
        const tenant = await makeTenant(server)
        const { id } = await makeList(tenant.admin)
        await postgres.stop(how)
        await until(unready(server, 'database'), 'not ready')
        expect((await fetch(`${server.url}/healthz`)).status).toBe(200)
        expect((await readiness(server)).body).toMatchObject({ redis: 'up', migrations: 'unknown' })
        const { email, password } = tenant.admin
        for (const answer of [
          await tenant.admin.api.get(`/shopping-lists/${id}`),
          await tenant.admin.api.post('/shopping-lists', { name: 'Never' }),
          await createClient(server.url).post('/auth/login', { email, password }),
        ]) {
          expect(answer.body).toMatchObject({ status: 503, code: 'database_unavailable' })
          expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/)
        }
        await postgres.start()
        await until(ready(server), 'ready')
        expect((await tenant.admin.api.get(`/shopping-lists/${id}`)).status).toBe(200)
        await signIn(server, email, password)
      } finally {
        await server.stop()
        await postgres.end()
      }
    })
})

describeFull('with an unresponsive database', () => {
  test('the service says so before any probe times out, and recovers by itself', async () => {
    const database = await (await testPostgres()).createDatabase()
    const network = await startProxy(database.url)
    const { hostname, port } = new URL(network.url)
    const through = Object.assign(new URL(database.url), { hostname, port })
    const server = await startServer('full', { DATABASE_URL: through.href })
    try {
      network.hold()
      const startedAt = performance.now()
      expect(await readiness(server)).toEqual({
        status: 503,
        body: { status: 'not_ready', database: 'down', migrations: 'unknown', redis: 'up' },
      })
      expect(performance.now() - startedAt).toBeLessThan(2900)
      network.flow()
      await until(ready(server), 'ready')
    } finally {
      network.flow()
      await server.stop()
      await network.stop()
      await database.drop()
    }
  })
})

describePrivateRedis('without its Redis', () => {
  for (const how of ['stopped', 'silent'] as const)
    test(`the service (Redis ${how}) is alive but not ready, answers in bounded time, and recovers by itself`, async () => {
      const redis = await startRedis()
      const server = await startServer('full', { REDIS_URL: redis.url })
      try {
        const { admin } = await makeTenant(server)
        await (how === 'stopped' ? redis.stop('crash') : redis.freeze())
        await until(unready(server, 'redis'), 'not ready', 20_000)
        expect((await fetch(`${server.url}/healthz`)).status).toBe(200)
        expect((await readiness(server)).body).toMatchObject({ database: 'up', migrations: 'current' })
        const startedAt = performance.now()
        const { email, password } = admin
        const refused = await createClient(server.url).post('/auth/login', { email, password })
        expect(refused.body).toMatchObject({ status: 503, code: 'redis_unavailable' })
        expect(refused.headers.get('retry-after')).toMatch(/^[1-9]\d*$/)
        expect((await admin.api.get('/auth/me')).status).toBe(200)
        expect(performance.now() - startedAt).toBeLessThan(10_000)
        await (how === 'stopped' ? redis.start() : redis.thaw())
        await until(ready(server), 'ready', 20_000)
        await signIn(server, email, password)
      } finally {
        await redis.thaw()
        await server.stop()
        await redis.end()
      }
    })
})
