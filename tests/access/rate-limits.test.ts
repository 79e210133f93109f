/** Rate limits per address, account and user, shared by all instances. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { createSuperAdmin } from '../../src/features/users/super-admin.ts'
import { type Answer, createClient } from '../support/client.ts'
import { freshEmail, makeList, makeTenant, makeUser } from '../support/people.ts'
import { postgresAvailable } from '../support/postgres.ts'
import { describePrivateRedis, redisAvailable, startRedis } from '../support/redis.ts'
import {
  describeBackends,
  describeFull,
  startInstance,
  startServer,
  type TestServer,
} from '../support/server.ts'
import { until } from '../support/until.ts'

let addresses = 0
/** An address that no other test of this file uses. */
const freshAddress = (): string => `198.51.100.${++addresses}`

const attempt = (server: TestServer, email: string, forwardedFor?: string): Promise<Answer> =>
  createClient(server.url).post(
    '/auth/login',
    { email, password: 'not the password' },
    forwardedFor === undefined ? {} : { headers: { 'x-forwarded-for': forwardedFor } },
  )

function expectLimited({ status, body, headers }: Answer, atMostSeconds: number): void {
  expect([status, body.code]).toEqual([429, 'rate_limited'])
  const retryAfter = Number(headers.get('retry-after'))
  expect(retryAfter).toBeGreaterThanOrEqual(1)
  expect(retryAfter).toBeLessThanOrEqual(atMostSeconds)
}

describeBackends('RATE_LIMIT_AUTH and RATE_LIMIT_API', (backend) => {
  let server: TestServer
  beforeAll(async () => {
    server = await startServer(backend, {
      RATE_LIMIT_AUTH: '5/minute',
      RATE_LIMIT_API: '8/minute',
      TRUST_PROXY: '1',
    })
  })
  afterAll(() => server.stop())

  test('an address gets five attempts in total, whatever the accounts; another address has its own', async () => {
    const address = freshAddress()
    for (let count = 0; count < 5; count++)
      expect((await attempt(server, freshEmail(), address)).status).toBe(401)
    expectLimited(await attempt(server, freshEmail(), address), 60)
    expect((await attempt(server, freshEmail(), freshAddress())).status).toBe(401)
  })

  test('an account gets five attempts in total, whatever the addresses and whether or not it exists', async () => {
    for (const email of [freshEmail('nobody'), server.superAdmin.email]) {
      for (let count = 0; count < 5; count++)
        expect((await attempt(server, email, freshAddress())).status).toBe(401)
      expectLimited(await attempt(server, email.toUpperCase(), freshAddress()), 60)
    }
    expect((await attempt(server, freshEmail(), freshAddress())).status).toBe(401)
  })

  test.each([
    ['/auth/verify-email', { otp: '000000' }, 400],
    ['/auth/resend-otp', {}, 202],
    ['/auth/forgot-password', {}, 202],
  ])('%s counts per account and per address too', async (path, body, usual) => {
    const post = (email: string, address: string) =>
      createClient(server.url).post(path, { email, ...body }, { headers: { 'x-forwarded-for': address } })
    const email = freshEmail()
    for (let count = 0; count < 5; count++) expect((await post(email, freshAddress())).status).toBe(usual)
    expectLimited(await post(email, freshAddress()), 60)
    const address = freshAddress()
    for (let count = 0; count < 5; count++) expect((await post(freshEmail(), address)).status).toBe(usual)
    expectLimited(await post(freshEmail(), address), 60)
  })

  test('guessing reset tokens counts per address', async () => {
    const headers = { 'x-forwarded-for': freshAddress() }
    const guess = () =>
      createClient(server.url).post(
        '/auth/reset-password',
        { token: crypto.randomUUID(), new_password: 'long enough to be one' },
        { headers },
      )
    for (let count = 0; count < 5; count++) expect((await guess()).status).toBe(400)
    expectLimited(await guess(), 60)
  })

  test('guessing the current password in a stolen session counts per session, apart from sign-ins', async () => {
    const { email, api } = await anotherSuperAdmin()
    const guess = () =>
      api.post(
        '/auth/change-password',
        { current_password: 'guess', new_password: 'long enough one' },
        { headers: { 'x-forwarded-for': freshAddress() } },
      )
    const answers: Answer[] = []
    for (let count = 0; count < 5; count++) answers.push(await guess())
    for (const { status } of answers) expect(status).toBe(400)
    expectLimited(await guess(), 60)
    expect((await attempt(server, email, freshAddress())).status).toBe(401)
  })

  test('calls of a signed-in user count per user, whatever the address', async () => {
    const { token } = await anotherSuperAdmin()
    const call = () =>
      createClient(server.url, token).get('/auth/me', {
        headers: { 'x-forwarded-for': freshAddress() },
      })
    for (let count = 0; count < 8; count++) expect((await call()).status).toBe(200)
    expectLimited(await call(), 60)
  })

  /** Signed in from an address of their own; an earlier test used up the first one's account. */
  async function anotherSuperAdmin() {
    const { db, passwords } = server.running.deps
    const email = freshEmail('root')
    const { password } = server.superAdmin
    await createSuperAdmin(db, passwords, { email, fullName: 'Root', password })
    const { body } = await createClient(server.url).post(
      '/auth/login',
      { email, password },
      { headers: { 'x-forwarded-for': freshAddress() } },
    )
    const token: string = body.access_token
    return { email, token, api: createClient(server.url, token) }
  }
})

describeBackends('RATE_LIMIT_INVITE', (backend) => {
  test('invitations are limited per user', async () => {
    const server = await startServer(backend, { RATE_LIMIT_INVITE: '2/hour' })
    try {
      const tenant = await makeTenant(server)
      const guest = await makeUser(server, tenant)
      const [ann, ben] = [await makeUser(server, tenant), await makeUser(server, tenant)]
      const [annsList, bensList] = [await makeList(ann), await makeList(ben)]
      const invite = { email: guest.email, role: 'viewer' }
      for (let count = 0; count < 2; count++)
        expect((await ann.api.post(`/shopping-lists/${annsList.id}/invite`, invite)).status).toBe(201)
      expectLimited(await ann.api.post(`/shopping-lists/${annsList.id}/invite`, invite), 3600)
      expect((await ben.api.post(`/shopping-lists/${bensList.id}/invite`, invite)).status).toBe(201)
      expect((await ann.api.get('/auth/me')).status).toBe(200)
    } finally {
      await server.stop()
    }
  })
})

test('one call gets through as soon as Retry-After has passed', async () => {
  const server = await startServer(postgresAvailable && redisAvailable ? 'full' : 'embedded', {
    RATE_LIMIT_AUTH: '2/second',
  })
  try {
    const email = freshEmail()
    const limited = await until(async () => {
      const answer = await attempt(server, email)
      return answer.status === 429 ? answer : null
    })
    expectLimited(limited, 1)
    await Bun.sleep(1000 * Number(limited.headers.get('retry-after')))
    expect((await attempt(server, email)).status).toBe(401)
  } finally {
    await server.stop()
  }
})

describeFull('limits with two instances', () => {
  test('share their counters', async () => {
    const one = await startServer('full', { RATE_LIMIT_AUTH: '6/minute' })
    const other = await startInstance(one)
    try {
      const email = freshEmail()
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, index) => attempt(index % 2 ? one : other, email)),
      )
      expect(answers.filter(({ status }) => status === 401)).toHaveLength(6)
      expect(answers.filter(({ status }) => status === 429)).toHaveLength(4)
    } finally {
      await other.stop()
      await one.stop()
    }
  })
})

describePrivateRedis('when Redis is down', () => {
  test('each instance keeps counting alone, and they share counters again when it is back', async () => {
    const redis = await startRedis()
    const server = await startServer('full', {
      RATE_LIMIT_AUTH: '3/day',
      TRUST_PROXY: '1',
      REDIS_URL: await redis.freshDatabase(),
    })
    try {
      const statuses = async (address: string): Promise<number[]> => {
        const answers: Answer[] = []
        for (let count = 0; count < 5; count++) answers.push(await attempt(server, freshEmail(), address))
        return answers.map(({ status }) => status)
      }
      const threeThenNoMore = [401, 401, 401, 429, 429]
      expect(await statuses('192.0.2.1')).toEqual(threeThenNoMore)
      await redis.stop('crash')
      expect(await statuses('192.0.2.2')).toEqual(threeThenNoMore)
      await redis.start()
      const back = 'rate limits are shared between instances again'
      await until(async () => {
        await attempt(server, freshEmail(), '192.0.2.4')
        return server.log.messages().includes(back)
      }, back)
      expect(await statuses('192.0.2.3')).toEqual(threeThenNoMore)
    } finally {
      await server.stop()
      await redis.end()
    }
  })
})
