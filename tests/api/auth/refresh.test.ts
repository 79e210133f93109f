/** Refresh tokens rotate at each use, tolerate one lost answer, and end the session when reused. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { asBearer, claimsOf, endsWithinASecond, later, login, refresh } from '../../support/auth.ts'
import { makeTenant, makeUser, type Person, type Tenant } from '../../support/people.ts'
import { describePrivatePostgres, startPostgres } from '../../support/postgres.ts'
import {
  describeBackends,
  describeFull,
  sharedServer,
  startInstance,
  startServer,
  type TestServer,
} from '../../support/server.ts'
import { until } from '../../support/until.ts'

const graceSeconds = 10
const daySeconds = 86_400

describeBackends('a refresh', (backend) => {
  let server: TestServer
  let tenant: Tenant

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
  })

  /** Successive refresh tokens of one session. */
  async function chain(person: Person, length: number): Promise<string[]> {
    const tokens = [person.refreshToken]
    while (tokens.length < length) {
      const { status, body } = await refresh(server, tokens.at(-1) ?? '')
      expect(status).toBe(200)
      tokens.push(body.refresh_token)
    }
    return tokens
  }

  async function expectEnded(accessToken: string, ...refreshTokens: string[]): Promise<void> {
    expect((await asBearer(server, accessToken).get('/auth/me')).body.code).toBe('token_revoked')
    for (const token of refreshTokens)
      expect((await refresh(server, token)).body.code).toBe('refresh_token_invalid')
  }

  test('answers like a login, with new tokens of the same session', async () => {
    const ann = await makeUser(server, tenant)
    const { status, body, headers } = await refresh(server, ann.refreshToken)
    expect(status).toBe(200)
    expect(body).toMatchObject({ token_type: 'Bearer', expires_in: 900, user: { id: ann.id } })
    expect(body.refresh_token).not.toBe(ann.refreshToken)
    expect(claimsOf(body.access_token)['sid']).toBe(claimsOf(ann.accessToken)['sid'])
    expect((await asBearer(server, body.access_token).get('/auth/me')).status).toBe(200)
    expect(headers.get('cache-control')).toBe('no-store')
  })

  test('with the same token again, within the grace period, returns the same successor', async () => {
    const ann = await makeUser(server, tenant)
    const [first = '', second = ''] = await chain(ann, 2)
    for (let again = 0; again < 3; again++)
      expect((await refresh(server, first)).body.refresh_token).toBe(second)
    const third = await later(graceSeconds - 1, () => refresh(server, first))
    expect(third.body.refresh_token).toBe(second)
    expect((await refresh(server, second)).status).toBe(200)
  })

  test('with a rotated token after the grace period ends the whole session, its access tokens too', async () => {
    const ann = await makeUser(server, tenant)
    const [first = '', second = ''] = await chain(ann, 2)
    const reuse = await later(graceSeconds + 1, () => refresh(server, first))
    expect([reuse.status, reuse.body.code]).toEqual([401, 'refresh_token_reused'])
    await expectEnded(ann.accessToken, first, second)
  })

  test('has a grace period for the immediate predecessor only', async () => {
    const ann = await makeUser(server, tenant)
    const [first = '', second = '', third = ''] = await chain(ann, 3)
    expect((await refresh(server, second)).body.refresh_token).toBe(third)
    expect((await refresh(server, first)).body.code).toBe('refresh_token_reused')
    await expectEnded(ann.accessToken, first, second, third)
  })

  test('reuse in one session leaves the user’s other sessions alone', async () => {
    const ann = await makeUser(server, tenant)
    const { body: phone } = await login(server, ann.email)
    const [first = ''] = await chain(ann, 3)
    expect((await refresh(server, first)).body.code).toBe('refresh_token_reused')
    expect((await asBearer(server, phone.access_token).get('/auth/me')).status).toBe(200)
    expect((await refresh(server, phone.refresh_token)).status).toBe(200)
  })

  test('from many connections at once gives each the same successor', async () => {
    const ann = await makeUser(server, tenant)
    const answers = await Promise.all(Array.from({ length: 12 }, () => refresh(server, ann.refreshToken)))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
    const successors = new Set(answers.map(({ body }) => body.refresh_token))
    expect(successors.size).toBe(1)
    expect((await refresh(server, [...successors][0])).status).toBe(200)
  })

  test('works for 7 days after the last one, and no longer', async () => {
    const ann = await makeUser(server, tenant)
    const ben = await makeUser(server, tenant)
    expect((await later(7 * daySeconds - 60, () => refresh(server, ann.refreshToken))).status).toBe(200)
    const late = await later(7 * daySeconds + 1, () => refresh(server, ben.refreshToken))
    expect([late.status, late.body.code]).toEqual([401, 'refresh_token_invalid'])
  })

  test('with anything but a refresh token, or with an altered one, is refused', async () => {
    const ann = await makeUser(server, tenant)
    const parts = ann.refreshToken.split('.')
    const [user = '', session = '', number = '', proof = ''] = parts
    const flipped = `${proof.startsWith('A') ? 'B' : 'A'}${proof.slice(1)}`
    const changed = [
      [user, session, number, flipped],
      [user, session, String(Number(number) + 1), proof],
      [user, crypto.randomUUID(), number, proof],
      [crypto.randomUUID(), session, number, proof],
      [user, session, number],
    ].map((words) => words.join('.'))
    for (const token of ['', 'x', '....', ...changed]) {
      const answer = await refresh(server, token)
      expect([answer.status, answer.body.code]).toEqual([401, 'refresh_token_invalid'])
    }
    expect((await refresh(server, ann.refreshToken)).status).toBe(200)
  })
})

describeFull('a refresh with two instances', () => {
  let one: TestServer
  let other: TestServer

  beforeAll(async () => {
    one = await sharedServer('full')
    other = await startInstance(one)
  })
  afterAll(() => other.stop())

  test('raced on both gives the same successor on both', async () => {
    const ann = await makeUser(one, await makeTenant(one))
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) => refresh(index % 2 ? one : other, ann.refreshToken)),
    )
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
    expect(new Set(answers.map(({ body }) => body.refresh_token)).size).toBe(1)
  })

  test('reused on one ends the access tokens on the other within a second', async () => {
    const ann = await makeUser(one, await makeTenant(one))
    const { body: second } = await refresh(other, ann.refreshToken)
    const { body: third } = await refresh(one, second.refresh_token)
    expect((await asBearer(other, third.access_token).get('/auth/me')).status).toBe(200)
    expect((await refresh(one, ann.refreshToken)).body.code).toBe('refresh_token_reused')
    await Promise.all([
      endsWithinASecond(other, ann.accessToken),
      endsWithinASecond(other, third.access_token),
    ])
    expect((await refresh(other, third.refresh_token)).body.code).toBe('refresh_token_invalid')
  })
})

describePrivatePostgres('a refresh during a database outage', () => {
  test('signs nobody out, even when it outlasts the grace period', async () => {
    const postgres = await startPostgres()
    const { url } = await postgres.createDatabase()
    const server = await startServer('full', { DATABASE_URL: url })
    try {
      const { body } = await login(server, server.superAdmin.email, server.superAdmin.password)
      await postgres.stop()
      const during = await refresh(server, body.refresh_token)
      expect(during.status).toBe(503)
      expect(Number(during.headers.get('retry-after'))).toBeGreaterThan(0)
      await postgres.start()
      const after = await later(60, () =>
        until(async () => {
          const answer = await refresh(server, body.refresh_token)
          return answer.status === 503 ? null : answer
        }, 'the database'),
      )
      expect(after.status).toBe(200)
    } finally {
      await server.stop()
      await postgres.end()
    }
  })
})
