/** What probes and dashboards read (CONTRACT section 8), also when the database or Redis is unavailable. */
import { expect, test } from 'bun:test'
import connectTo from 'postgres'
import { createClient as createRedis } from 'redis'
import { createClient } from '../support/client.ts'
import { figuresNow, sumOf } from '../support/metrics.ts'
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

const unready =
  (server: TestServer, part: string, state = 'down') =>
  async (): Promise<boolean> => {
    const { status, body } = await readiness(server)
    return status === 503 && body['status'] === 'not_ready' && body[part] === state
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
      // The first answer may be from before.
      await until(unready(server, 'database'), 'not ready')
      expect(performance.now() - startedAt).toBeLessThan(3900)
      expect(await readiness(server)).toEqual({
        status: 503,
        body: { status: 'not_ready', database: 'down', migrations: 'unknown', redis: 'up' },
      })
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

describeBackends('asked by everybody at once', (backend) => {
  test('readiness and metrics are collected at most once, for all', async () => {
    const server = await sharedServer(backend)
    const reads = async (): Promise<number> =>
      sumOf(await figuresNow(server), 'minimart_database_call_duration_seconds_count', { kind: 'read' })
    const before = await reads()
    const ask = (path: string) =>
      Promise.all(Array.from({ length: 200 }, () => fetch(`${server.url}${path}`)))
    const begun = performance.now()
    for (const { status } of await ask('/readyz')) expect(status).toBe(200)
    const texts = await Promise.all((await ask('/metrics')).map((answer) => answer.text()))
    const collections = Math.ceil((performance.now() - begun) / 1000) + 1
    expect(new Set(texts).size).toBeLessThanOrEqual(collections)
    // Two a look, one look every half second; the full service also polls for revocations.
    const grown = (await reads()) - before
    const seconds = (performance.now() - begun) / 1000
    expect(grown).toBeLessThan(20 + seconds * 10)
  })
})

describePrivatePostgres('with a database that takes no writes', () => {
  test('the service says so, and recovers by itself', async () => {
    const postgres = await startPostgres()
    const database = await postgres.createDatabase()
    const server = await startServer('full', { DATABASE_URL: database.url })
    const admin = connectTo(database.url, { max: 1, onnotice: () => undefined })
    try {
      const { admin: ann } = await makeTenant(server)
      await admin`create function no_room() returns trigger language plpgsql as
        $$ begin raise exception 'no room' using errcode = 'disk_full'; end $$`
      await admin`create trigger no_room before insert on shopping_lists execute function no_room()`
      expect((await ann.api.post('/shopping-lists', { name: 'Too much' })).status).toBe(503)
      await until(unready(server, 'database', 'full'), 'full')
      expect((await ann.api.get('/shopping-lists')).status).toBe(200)
      await admin`drop trigger no_room on shopping_lists`
      await makeList(ann)
      await until(ready(server), 'ready')

      const [{ folder } = { folder: '' }] = await admin<{ folder: string }[]>`
        select current_setting('data_directory') as folder`
      await admin.unsafe(`copy (select '') to '${folder}/standby.signal'`)
      await postgres.stop()
      await postgres.start()
      await until(unready(server, 'database', 'read_only'), 'read-only')
      expect((await ann.api.get('/shopping-lists')).status).toBe(200)
      expect((await ann.api.post('/shopping-lists', { name: 'Not here' })).status).toBe(503)
      await admin`select pg_promote()`
      await until(ready(server), 'ready')
      await makeList(ann)
    } finally {
      await admin.end({ timeout: 2 })
      await server.stop()
      await postgres.end()
    }
  })
})

describePrivateRedis('with a Redis that answers', () => {
  test('but is full, takes no writes or refuses its channels, the service says so, and recovers by itself', async () => {
    const redis = await startRedis()
    const admin = createRedis({ url: redis.url })
    await admin.connect()
    await admin.sendCommand(['ACL', 'SETUSER', 'shop', 'on', '>secret', '~*', '+@all', 'resetchannels'])
    const own = Object.assign(new URL(redis.url), { username: 'shop', password: 'secret' })
    const server = await startServer('full', { REDIS_URL: own.href })
    try {
      await until(unready(server, 'redis', 'no_channels'), 'no channels')
      await admin.sendCommand(['ACL', 'SETUSER', 'shop', 'allchannels', '-publish'])
      await until(unready(server, 'redis', 'no_channels'), 'no publishing')
      await admin.sendCommand(['ACL', 'SETUSER', 'shop', '+publish'])
      await until(ready(server), 'ready')

      const { admin: ann } = await makeTenant(server)
      const keys = await admin.dbSize()
      await admin.configSet({ 'maxmemory-policy': 'noeviction', maxmemory: '1' })
      await until(unready(server, 'redis', 'full'), 'full')
      expect((await ann.api.get('/shopping-lists')).status).toBe(200)
      await admin.configSet({ maxmemory: '0' })
      await until(ready(server), 'ready')

      await admin.sendCommand(['REPLICAOF', '127.0.0.1', '1'])
      await until(unready(server, 'redis', 'read_only'), 'read-only')
      await admin.sendCommand(['REPLICAOF', 'NO', 'ONE'])
      await until(ready(server), 'ready')
      expect(await admin.dbSize()).toBe(keys)
    } finally {
      admin.destroy()
      await server.stop()
      await redis.end()
    }
  })
})
