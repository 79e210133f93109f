/** PostgreSQL unavailable at the start, and lost while the service runs. */
import { beforeAll, expect, test } from 'bun:test'
import postgres from 'postgres'
import { createClient } from '../../support/client.ts'
import { makeList, makeTenant } from '../../support/people.ts'
import {
  describePostgres,
  describePrivatePostgres,
  startPostgres,
  testPostgres,
} from '../../support/postgres.ts'
import { asServer, describeExecutable, environmentFor, type Started } from '../../support/program.ts'
import { startProxy } from '../../support/proxy.ts'
import { startInbox } from '../../support/smtp.ts'
import { until } from '../../support/until.ts'

const secret = 'tests only: long enough to sign with, 0123456789'
const healthyAgainMs = 5000

describeExecutable('PostgreSQL unavailable', (program) => {
  // Waits for 30 s, while the other tests run.
  let waiting: Promise<Started>
  beforeAll(() => {
    waiting = program.start(['serve'], {
      env: {
        PORT: '0',
        DATABASE_URL: 'postgres://someone:sesame-open@127.0.0.1:1/nowhere',
        JWT_SECRET_KEY: secret,
      },
    })
  })

  test('SIGTERM while it waits for the database ends it immediately with 0', async () => {
    const started = await program.start(['serve'], {
      env: { PORT: '0', DATABASE_URL: 'postgres://someone@127.0.0.1:1/nowhere', JWT_SECRET_KEY: secret },
    })
    await until(() => started.output().includes('Waiting for the database'), 'the wait')
    started.signal('SIGTERM')
    expect(await started.exited).toBe(0)
    expect(started.output()).toContain('stopped before it served')
  })

  describePostgres('while it stops', () => {
    test('an unresponsive database does not delay it beyond 10 s', async () => {
      const { url, drop } = await (await testPostgres()).createDatabase()
      const throughProxy = new URL(url)
      const network = await startProxy(`http://${throughProxy.host}`)
      throughProxy.host = new URL(network.url).host
      const env = {
        PORT: '0',
        DATABASE_URL: throughProxy.href,
        JWT_SECRET_KEY: secret,
        SHUTDOWN_DELAY_MS: '1000',
        RATE_LIMIT_AUTH: 'off',
      }
      const running = await (await program.start([], { env })).ready()
      const api = createClient(running.url)
      // Enough to have the connections used below open already: connecting would give up sooner.
      const forgot = () => api.post('/auth/forgot-password', { email: 'nobody@shop.example' })
      for (const { status } of await Promise.all(Array.from({ length: 20 }, forgot))) expect(status).toBe(202)
      const begun = performance.now()
      running.signal('SIGTERM')
      await until(() => running.output().includes('still serving'), 'the announcement')
      network.hold()
      const asked = Array.from({ length: 5 }, () =>
        api.post('/auth/forgot-password', { email: 'nobody@shop.example' }).catch(() => null),
      )
      expect(await running.exited).toBe(0)
      expect(performance.now() - begun).toBeLessThan(10_000)
      expect(running.output()).toContain('closing took too long and was given up')
      await Promise.all(asked)
      await network.stop()
      await drop()
    })
  })

  describePrivatePostgres('while it runs', () => {
    test('503 with Retry-After, never 500, and it recovers by itself', async () => {
      const [server, inbox] = await Promise.all([startPostgres(), startInbox()])
      const { url } = await server.createDatabase()
      const environment = {
        ...environmentFor(inbox, await program.folder()),
        DATABASE_URL: url,
        JWT_SECRET_KEY: secret,
      }
      const running = await (await program.start([], { env: environment })).ready()
      const { admin } = await makeTenant(asServer(running, { backend: 'full', inbox, environment }))
      const list = await makeList(admin)
      const seen = new Map<number, number>()
      const add = async (): Promise<number> => {
        const answer = await admin.api.post(`/shopping-lists/${list.id}/items`, { name: 'Milk' })
        seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1)
        if (answer.status === 503) expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
        return answer.status
      }
      let over = false
      const load = Array.from({ length: 6 }, async () => {
        while (!over) await add()
      })
      await until(() => (seen.get(201) ?? 0) > 50, 'some load')
      const killer = postgres(url, { max: 1, onnotice: () => undefined })
      for (let time = 0; time < 3; time++)
        await killer`select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()`
      await killer.end({ timeout: 2 })
      const after = seen.get(201) ?? 0
      await until(() => (seen.get(201) ?? 0) > after + 50, 'answers again', healthyAgainMs)

      await server.stop('crash')
      await until(async () => (await fetch(`${running.url}/readyz`)).status === 503, 'not ready')
      expect((await fetch(`${running.url}/healthz`)).status).toBe(200)
      await until(() => (seen.get(503) ?? 0) > 0, 'a 503')
      await server.start()
      await until(async () => (await fetch(`${running.url}/readyz`)).ok, 'ready again', healthyAgainMs)
      const recovered = seen.get(201) ?? 0
      await until(() => (seen.get(201) ?? 0) > recovered + 20, 'answers again', healthyAgainMs)
      over = true
      await Promise.all(load)
      expect([...seen.keys()].toSorted()).toEqual([201, 503])
      running.signal('SIGTERM')
      expect(await running.exited).toBe(0)
      const refusals = running
        .lines()
        .filter(
          ({ level, request_id, message }) =>
            level === 'warn' && request_id && message !== 'slow database call',
        )
      expect(refusals.length).toBeGreaterThan(0)
      for (const { error } of refusals) expect(error).toMatchObject({ code: 'database_unavailable' })
      expect(running.output()).not.toContain('"stack"')
      await Promise.all([server.end(), inbox.stop()])
    })
  })

  test('at the start: says so while it retries, then exits with 1 and says what to check', async () => {
    const started = await waiting
    await until(() => started.lines().some(({ level }) => level === 'warn'), 'a warning')
    expect(await started.exited).toBe(1)
    expect(started.errors()).toContain('127.0.0.1:1')
    expect(started.errors()).toContain('DATABASE_URL')
    expect(started.errors()).not.toMatch(/^ +at /m)
    expect(started.output() + started.errors()).not.toContain('sesame')
    const warning = started.lines().find(({ level }) => level === 'warn')
    expect(warning?.['error']).toMatchObject({ cause: { code: 'ECONNREFUSED' } })
    expect(started.output()).not.toContain('"stack"')
  })
})
