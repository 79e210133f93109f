/** What strangers leave in the audit trail and the store is bounded: refused attempts are counted past a few. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { createClient as createRedis } from 'redis'
import type { Database } from '../../../src/db/database.ts'
import { compileStatement } from '../../../src/db/statement.ts'
import { AppError } from '../../../src/errors.ts'
import { listedPerHour } from '../../../src/features/audit/entry.ts'
import { createFailedAttempts } from '../../../src/features/auth/failed-attempts.ts'
import { login } from '../../support/auth.ts'
import { createClient } from '../../support/client.ts'
import {
  freshEmail,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
  type Tenant,
} from '../../support/people.ts'
import {
  describeBackends,
  describeFull,
  startInstance,
  startServer,
  type TestServer,
} from '../../support/server.ts'
import { until } from '../../support/until.ts'

interface Entry {
  id: string
  at: string
  action: string
  address: string | null
  target_id: string | null
  request_id: string | null
  details: { count?: number; reason?: string; email?: string; last_at?: string }
}

const trail = async (reader: Person, query = ''): Promise<Entry[]> =>
  (await reader.api.get(`/audit?limit=100${query}`)).body.data

const times = <T>(amount: number, work: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: amount }, (_, index) => work(index)))

/** Counts are kept by the hour: should one begin meanwhile, the work is done again. */
async function withinAnHour<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    const hour = new Date().getUTCHours()
    const done = await work()
    if (new Date().getUTCHours() === hour) return done
  }
}

describeBackends('refused attempts', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let root: Person

  beforeAll(async () => {
    server = await startServer(backend, { TRUST_PROXY: '1' })
    tenant = await makeTenant(server)
    root = await superAdmin(server)
  })
  afterAll(() => server.stop())

  const from = (address: string, path: string, body: object) =>
    createClient(server.url).post(`/auth/${path}`, body, { headers: { 'x-forwarded-for': address } })
  const verify = (address: string, email: string) => from(address, 'verify-email', { email, otp: '123456' })

  test('at addresses of nobody are one entry for each block, action and reason', () =>
    withinAnHour(async () => {
      const before = await entriesStored(server)
      const net = `198.51.${Math.floor(Math.random() * 256)}`
      const site = `2001:db8:${Math.floor(Math.random() * 65_536).toString(16)}`
      await times(30, (host) => verify(`${net}.${host}`, freshEmail('nobody')))
      await times(30, (host) => verify(`${site}:${host}::1`, freshEmail('nobody')))
      const wrong = { email: freshEmail('nobody'), password: 'a wrong password' }
      await times(3, (host) => from(`${net}.${host}`, 'login', wrong))
      const reset = { token: 'a made-up token', new_password: 'a long enough passphrase' }
      await times(2, (host) => from(`${net}.${host}`, 'reset-password', reset))

      const ours = (await trail(root)).filter(
        ({ address }) => address === `${net}.0/24` || address === `${site}::/48`,
      )
      const counted = ours.map(({ action, address, details: { reason, count } }) => [
        ...[action, address, reason, count],
      ])
      expect(counted.sort()).toEqual(
        [
          ['auth.verification_failed', `${net}.0/24`, 'otp_invalid', 30],
          ['auth.verification_failed', `${site}::/48`, 'otp_invalid', 30],
          ['auth.sign_in_failed', `${net}.0/24`, 'invalid_credentials', 3],
          ['auth.password_reset_failed', `${net}.0/24`, 'reset_token_invalid', 2],
        ].sort(),
      )
      for (const { at, target_id, request_id, details } of ours) {
        expect([target_id, request_id]).toEqual([null, null])
        expect(at).toEndWith(':00:00.000Z')
        expect(Date.parse(details.last_at ?? '') - Date.parse(at)).toBeWithin(0, 3_600_000)
      }
      expect(await entriesStored(server)).toBe(before)
    }))

  test('for one account are listed up to 20 an hour, then counted in one entry', () =>
    withinAnHour(async () => {
      const ann = await makeUser(server, tenant)
      const ben = await makeUser(server, tenant)
      await times(listedPerHour, () => login(server, ben.email, 'a wrong password'))
      await times(15, () => login(server, ann.email, 'a wrong password'))
      await times(15, () => verify('127.0.0.1', ann.email))
      const entries = await trail(tenant.admin, `&target_id=${ann.id}`)
      const failed = entries.filter(({ action }) => action.endsWith('_failed'))
      expect(failed).toHaveLength(listedPerHour)
      for (const { details } of failed) expect(details.email).toBe(ann.email)
      const more = await trail(tenant.admin, '&action=auth.refusals_counted')
      expect(more).toMatchObject([{ target_id: ann.id, address: null, details: { count: 10 } }])
      expect(entries).toContainEqual(more[0] as Entry)
      // Nor is any of it in the platform's trail.
      expect(await trail(root, `&target_id=${ann.id}`)).toEqual([])
    }))

  test('are paged with the rest, newest first, each once', () =>
    withinAnHour(async () => {
      const { admin } = await makeTenant(server, 'Paged')
      await times(listedPerHour + 5, () => login(server, admin.email, 'a wrong password'))
      const all = await trail(admin)
      const paged: Entry[] = []
      for (let cursor: string | null = ''; cursor !== null; ) {
        const query: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
        const { body } = await admin.api.get(`/audit?limit=7${query}`)
        paged.push(...body.data)
        cursor = body.next_cursor
      }
      expect(paged).toEqual(all)
      expect(all.map(({ at }) => at)).toEqual(
        all
          .map(({ at }) => at)
          .sort()
          .reverse(),
      )
      const hour = all.find(({ action }) => action === 'auth.refusals_counted')?.at ?? ''
      const next = new Date(Date.parse(hour) + 1).toISOString()
      expect(await trail(admin, `&from=${hour}&to=${next}`)).toMatchObject([
        { action: 'auth.refusals_counted', details: { count: 5 } },
      ])
      expect(await trail(admin, `&actor_id=${admin.id}&action=auth.refusals_counted`)).toEqual([])
    }))

  test('that arrive while one is recorded are recorded together, however many they are', async () => {
    const { db, store } = server.running.deps
    const { write } = db
    const { increment } = store
    const allTried = Promise.withResolvers<void>()
    let writes = 0
    let tries = 0
    db.write = async (scope, ...statements) => {
      if (statements.some((statement) => compileStatement(statement).text.includes('into refusal_counts'))) {
        writes++
        await allTried.promise
      }
      return write(scope, ...statements)
    }
    store.increment = async (key, ttlSeconds) => {
      const counted = await increment(key, ttlSeconds)
      if (++tries === 100) allTried.resolve()
      return counted
    }
    try {
      const answers = await times(100, () => verify('192.0.2.1', freshEmail('nobody')))
      expect(new Set(answers.map(({ body }) => body.code))).toEqual(new Set(['otp_invalid']))
    } finally {
      Object.assign(db, { write })
      Object.assign(store, { increment })
    }
    expect(writes).toBeLessThan(5)
  })

  test('bear a request id that cannot pass for another request’s', async () => {
    const ann = await makeUser(server, tenant)
    const anns = crypto.randomUUID()
    await ann.api.patch('/auth/me', { full_name: 'Annabel' }, { headers: { 'x-request-id': anns } })
    const body = { email: ann.email, password: 'a wrong password' }
    const answer = await createClient(server.url).post('/auth/login', body, {
      headers: { 'x-request-id': anns },
    })
    expect(answer.headers.get('x-request-id')).toBe(anns)
    await login(server, ann.email, 'a wrong password')
    const entries = await trail(tenant.admin, `&target_id=${ann.id}`)
    expect(entries.filter(({ request_id }) => request_id === anns)).toMatchObject([
      { action: 'user.changed' },
    ])
    expect(entries.filter(({ action }) => action === 'auth.sign_in_failed')).toMatchObject([
      { request_id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7/) },
      { request_id: `given:${anns}` },
    ])
  })

  test('with codes for an unknown address end after 20 an hour, as for an account', async () => {
    const email = freshEmail('nobody')
    for (let tries = 0; tries < 20; tries++)
      expect((await verify('127.0.0.1', email)).body.code).toBe('otp_invalid')
    const { body, headers } = await verify('127.0.0.1', email)
    expect(body.code).toBe('rate_limited')
    expect(Number(headers.get('retry-after'))).toBeWithin(3500, 3601)
    expect((await verify('127.0.0.1', freshEmail('nobody'))).body.code).toBe('otp_invalid')
  })
})

test('a refused attempt that finds a thousand waiting to be recorded is answered 503', async () => {
  const written = Promise.withResolvers<never[]>()
  const db = { write: () => written.promise } as unknown as Database
  const { record } = createFailedAttempts(db)
  const source = { address: '192.0.2.1', requestId: null }
  const attempt = { action: 'auth.sign_in_failed' as const, email: null, source }
  // The first is being written.
  const recorded = Array.from({ length: 1001 }, () => record(attempt, 'invalid_credentials'))
  expect(() => record(attempt, 'invalid_credentials')).toThrow(AppError)
  written.resolve([])
  await Promise.all(recorded)
  await record(attempt, 'invalid_credentials')
})

describeFull('refused attempts on two instances', () => {
  test('for one account are listed up to 20 an hour in all', () =>
    withinAnHour(async () => {
      const one = await startServer('full')
      const other = await startInstance(one)
      try {
        const tenant = await makeTenant(one)
        const ann = await makeUser(one, tenant)
        await times(30, (index) => login(index % 2 ? one : other, ann.email, 'a wrong password'))
        const entries = await trail(tenant.admin, `&target_id=${ann.id}`)
        expect(entries.filter(({ action }) => action === 'auth.sign_in_failed')).toHaveLength(listedPerHour)
        expect(entries.filter(({ action }) => action === 'auth.refusals_counted')).toMatchObject([
          { details: { count: 10 } },
        ])
      } finally {
        await other.stop()
        await one.stop()
      }
    }))
})

/** How many keys or rows the store has, once those that live a second are gone. */
async function entriesStored({ environment, running: { deps } }: TestServer): Promise<number> {
  const lasting = await until(async () => {
    const keys = environment['REDIS_URL']
      ? await redisKeys(environment['REDIS_URL'])
      : await tableKeys(deps.db)
    return !keys.some((key) => /otp-wrong:nobody|reachable/.test(key)) && keys
  }, 'the end of a second')
  return lasting.length
}

async function redisKeys(url: string): Promise<string[]> {
  const redis = createRedis({ url })
  await redis.connect()
  const keys = await redis.keys('*')
  redis.destroy()
  return keys
}

const tableKeys = async (db: TestServer['running']['deps']['db']): Promise<string[]> => {
  const rows = await db.read(
    'system',
    sql<{ key: string }>`select key from store_entries where expires_at > clock_timestamp()`,
  )
  return rows.map(({ key }) => key)
}
