/** One-time codes: six digits that verify an address once and cannot be brute-forced. */
import { beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { createClient as createRedis } from 'redis'
import {
  allMailed,
  later,
  login,
  makeUnverified,
  type Newcomer,
  onceArrived,
  wrongCode,
} from '../../support/auth.ts'
import { type Answer, createClient } from '../../support/client.ts'
import { freshEmail, makeTenant, makeUser, superAdmin, type Tenant } from '../../support/people.ts'
import {
  describeBackends,
  describeFull,
  sharedServer,
  startInstance,
  type TestServer,
} from '../../support/server.ts'
import { codeIn } from '../../support/smtp.ts'
import { until } from '../../support/until.ts'

const verify = (server: TestServer, email: string, otp: string): Promise<Answer> =>
  createClient(server.url).post('/auth/verify-email', { email, otp })

/** Requests a new code and returns it. */
async function resend(server: TestServer, email: string): Promise<string> {
  expect((await createClient(server.url).post('/auth/resend-otp', { email })).status).toBe(202)
  return codeIn(await server.inbox.waitFor(email))
}

describeBackends('a one-time code', (backend) => {
  let server: TestServer
  let tenant: Tenant

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
  })

  const tries = async ({ email }: Newcomer, code: string, count: number): Promise<string[]> => {
    const codes: string[] = []
    for (let done = 0; done < count; done++) codes.push((await verify(server, email, code)).body.code)
    return codes
  }

  test('is mailed to a new user, has six digits, and verifies', async () => {
    const { email, code } = await makeUnverified(server, tenant)
    expect(code).toMatch(/^\d{6}$/)
    const { status, body } = await verify(server, email.toUpperCase(), code)
    expect([status, body]).toEqual([200, { email_verified: true }])
    expect((await login(server, email)).body.user.email_verified).toBe(true)
  })

  test('is mailed to the admin of a new tenant', async () => {
    const root = await superAdmin(server)
    const email = freshEmail('admin')
    await root.api.post('/tenants', {
      name: 'New',
      admin: { email, full_name: 'A', password: 'pass phrase 1' },
    })
    const code = codeIn(await server.inbox.waitFor(email))
    expect((await verify(server, email, code)).status).toBe(200)
  })

  test('verifies no account while it is deactivated', async () => {
    const newcomer = await makeUnverified(server, tenant)
    const change = (is_active: boolean) => tenant.admin.api.patch(`/users/${newcomer.id}`, { is_active })
    expect((await change(false)).status).toBe(200)
    const refused = await verify(server, newcomer.email, newcomer.code)
    expect([refused.status, refused.body.code]).toEqual([400, 'otp_invalid'])
    const user = await tenant.admin.api.get(`/users/${newcomer.id}`)
    expect(user.body).toMatchObject({ email_verified: false, is_active: false })
    expect((await change(true)).status).toBe(200)
    expect((await verify(server, newcomer.email, await resend(server, newcomer.email))).status).toBe(200)
  })

  test('works once', async () => {
    const { email, code } = await makeUnverified(server, tenant)
    expect((await verify(server, email, code)).status).toBe(200)
    const again = await verify(server, email, code)
    expect([again.status, again.body.code]).toEqual([400, 'otp_invalid'])
  })

  test('raced, verifies once', async () => {
    const { email, code } = await makeUnverified(server, tenant)
    const answers = await Promise.all(Array.from({ length: 10 }, () => verify(server, email, code)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(new Set(answers.filter(({ status }) => status !== 200).map(({ body }) => body.code))).toEqual(
      new Set(['otp_invalid']),
    )
  })

  test('is invalidated by a newer one', async () => {
    const newcomer = await makeUnverified(server, tenant)
    const newer = await onceArrived(server, () => resend(server, newcomer.email))
    if (newer !== newcomer.code)
      expect((await verify(server, newcomer.email, newcomer.code)).body.code).toBe('otp_invalid')
    expect((await verify(server, newcomer.email, newer)).status).toBe(200)
  })

  test('is not replaced while it may still be on its way, by whoever asks for another', async () => {
    const newcomer = await makeUnverified(server, tenant)
    const { email } = newcomer
    const before = server.inbox.mails.length
    const ask = async () => {
      const { status, text } = await createClient(server.url).post('/auth/resend-otp', { email })
      expect([status, text]).toEqual([202, ''])
      expect((await login(server, email)).body.code).toBe('email_not_verified')
    }
    await Promise.all([ask(), ask(), ask()])
    expect(await tries(newcomer, wrongCode(newcomer.code), 1)).toEqual(['otp_invalid'])
    await onceArrived(server, ask, 115)
    await allMailed(server)
    expect(server.inbox.mails).toHaveLength(before)
    expect((await verify(server, email, newcomer.code)).status).toBe(200)
  })

  test('asked for many times at once is mailed once', async () => {
    const { email } = await makeUnverified(server, tenant)
    const [code, ...others] = await onceArrived(server, async () => {
      const asked = Array.from({ length: 8 }, () =>
        createClient(server.url).post('/auth/resend-otp', { email }),
      )
      expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(Array(8).fill(202))
      await allMailed(server)
      return server.inbox.mails.filter(({ to }) => to === email).slice(1)
    })
    expect(others).toEqual([])
    expect((await verify(server, email, codeIn(code ?? { text: '' }))).status).toBe(200)
  })

  test('works for ten minutes', async () => {
    const early = await makeUnverified(server, tenant)
    const late = await makeUnverified(server, tenant)
    expect((await later(590, () => verify(server, early.email, early.code))).status).toBe(200)
    expect((await later(601, () => verify(server, late.email, late.code))).body.code).toBe('otp_invalid')
  })

  test('survives four wrong tries', async () => {
    const newcomer = await makeUnverified(server, tenant)
    expect(await tries(newcomer, wrongCode(newcomer.code), 4)).toEqual(Array(4).fill('otp_invalid'))
    expect((await verify(server, newcomer.email, newcomer.code)).status).toBe(200)
  })

  test('is void after five wrong tries, even if the next is right; a new one works', async () => {
    const newcomer = await makeUnverified(server, tenant)
    expect(await tries(newcomer, wrongCode(newcomer.code), 5)).toEqual(Array(5).fill('otp_invalid'))
    const dead = await verify(server, newcomer.email, newcomer.code)
    expect([dead.status, dead.body.code]).toEqual([400, 'otp_attempts_exceeded'])
    const newer = await resend(server, newcomer.email)
    expect((await verify(server, newcomer.email, newer)).status).toBe(200)
  })

  test('allows no more than five guesses when they come all at once', async () => {
    const { email, code } = await makeUnverified(server, tenant)
    const answers = await Promise.all(
      Array.from({ length: 30 }, () => verify(server, email, wrongCode(code))),
    )
    expect(answers.filter(({ body }) => body.code === 'otp_invalid').length).toBeLessThanOrEqual(5)
    expect((await verify(server, email, code)).body.code).toBe('otp_attempts_exceeded')
  })

  test('requested again allows no more than 20 wrong guesses an hour', async () => {
    const newcomer = await makeUnverified(server, tenant)
    let { code } = newcomer
    for (let round = 0; round < 4; round++) {
      await tries(newcomer, wrongCode(code), 5)
      code = await resend(server, newcomer.email)
    }
    const limited = await verify(server, newcomer.email, code)
    expect([limited.status, limited.body.code]).toEqual([429, 'rate_limited'])
    const retryAfter = Number(limited.headers.get('retry-after'))
    expect(retryAfter).toBeGreaterThan(0)
    expect(retryAfter).toBeLessThanOrEqual(3600)
    const other = await makeUnverified(server, tenant)
    expect((await verify(server, other.email, other.code)).status).toBe(200)
  })

  /** Wrong tries on one code after another, leaving the last code valid. */
  const useUp = async (newcomer: Newcomer, wrongTries: number): Promise<string> => {
    let { code } = newcomer
    for (let left = wrongTries; left > 0; left -= 5) {
      const count = Math.min(5, left)
      expect(new Set(await tries(newcomer, wrongCode(code), count))).toEqual(new Set(['otp_invalid']))
      const ask = () => resend(server, newcomer.email)
      // Only a code that is void is replaced at once.
      code = await (count === 5 ? ask() : onceArrived(server, ask))
    }
    return code
  }

  test('allows no more guesses than the hour has left when they come all at once, right ones included', async () => {
    const newcomer = await makeUnverified(server, tenant)
    const code = await useUp(newcomer, 18)
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        verify(server, newcomer.email, index % 2 ? code : wrongCode(code)),
      ),
    )
    const answered = answers.filter(({ status, body }) => status === 200 || body.code === 'otp_invalid')
    expect(answered).toHaveLength(2)
  })

  test('refused for the hourly limit says when it ends, keeps its tries, and verifies then', async () => {
    const newcomer = await makeUnverified(server, tenant)
    const code = await useUp(newcomer, 20)
    await endHoursIn(server, 500_000)
    for (let count = 0; count < 8; count++) {
      const { body, headers } = await verify(server, newcomer.email, wrongCode(code))
      expect(body.code).toBe('rate_limited')
      expect(Number(headers.get('retry-after'))).toBeWithin(400, 501)
    }
    await endHoursIn(server, 1)
    await until(
      async () => (await verify(server, newcomer.email, code)).status === 200,
      'the end of the hour',
    )
  })

  test('of another address, or for an unknown or verified one, is merely wrong', async () => {
    const ann = await makeUser(server, tenant)
    const ben = await makeUnverified(server, tenant)
    for (const email of [ann.email, freshEmail('nobody'), server.superAdmin.email]) {
      const answer = await verify(server, email, ben.code)
      expect([answer.status, answer.body.code]).toEqual([400, 'otp_invalid'])
    }
  })

  test('without exactly six digits is refused by its field', async () => {
    for (const otp of ['12345', '1234567', '12345a', '१२३४५६', '']) {
      const answer = await verify(server, freshEmail(), otp)
      expect([answer.status, answer.body.errors?.[0]?.field]).toEqual([422, 'otp'])
    }
  })

  test('gets the same answer for every address, and is mailed only to unverified accounts', async () => {
    const verified = await makeUser(server, tenant)
    const gone = await makeUnverified(server, tenant)
    await tenant.admin.api.delete(`/users/${gone.id}`)
    const before = server.inbox.mails.length
    for (const email of [freshEmail('nobody'), verified.email, gone.email]) {
      const { status, text } = await createClient(server.url).post('/auth/resend-otp', { email })
      expect([status, text]).toEqual([202, ''])
    }
    await allMailed(server)
    expect(server.inbox.mails).toHaveLength(before)
  })
})

describeFull('a one-time code with two instances', () => {
  test('raced on both, verifies once', async () => {
    const one = await sharedServer('full')
    const other = await startInstance(one)
    try {
      const { email, code } = await makeUnverified(one, await makeTenant(one))
      const answers = await Promise.all(
        Array.from({ length: 12 }, (_, index) => verify(index % 2 ? one : other, email, code)),
      )
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    } finally {
      await other.stop()
    }
  })
})

/** Makes every hour of counted guesses end this soon. */
async function endHoursIn({ environment, running }: TestServer, milliseconds: number): Promise<void> {
  const url = environment['REDIS_URL']
  if (url === undefined) {
    const end = sql`statement_timestamp() + ${milliseconds}::double precision * interval '1 millisecond'`
    await running.deps.db.write(
      'system',
      sql`update store_entries set expires_at = ${end} where key like 'otp-wrong:%'`,
    )
    return
  }
  const redis = createRedis({ url })
  await redis.connect()
  for (const key of await redis.keys('minimart:*:{minimart:otp-wrong:*'))
    await redis.pExpire(key, milliseconds)
  redis.destroy()
}
