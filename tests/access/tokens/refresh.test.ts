/** Refreshing over a bad network, from several devices and instances, and while the session ends. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { asBearer, endsWithinASecond, login, refresh, resetTokenFor } from '../../support/auth.ts'
import { createClient } from '../../support/client.ts'
import { goodPassword, makeTenant, makeUser, type Person, type Tenant } from '../../support/people.ts'
import { type BadNetwork, startProxy } from '../../support/proxy.ts'
import { describeBackends, sharedServer, startInstance, type TestServer } from '../../support/server.ts'
import { until } from '../../support/until.ts'

const newPassword = 'another horse, another staple'

describeBackends('a refresh', (backend) => {
  let server: TestServer
  /** A second instance where there can be one, otherwise the same. */
  let other: TestServer
  let network: BadNetwork
  let tenant: Tenant

  beforeAll(async () => {
    server = await sharedServer(backend)
    other = backend === 'full' ? await startInstance(server) : server
    network = await startProxy(server.url)
    tenant = await makeTenant(server)
  })
  afterAll(async () => {
    await network.stop()
    if (other !== server) await other.stop()
  })

  const isGood = async ({ refresh_token }: { refresh_token: string }): Promise<boolean> =>
    (await refresh(other, refresh_token)).status === 200

  test('whose answers are lost repeatedly costs nothing: the next try gets the same successor', async () => {
    const ann = await makeUser(server, tenant)
    const tries = 4
    const lost = network.loseAnswersTo('POST /api/v1/auth/refresh', tries)
    // Without a client that retries by itself, which would hide how many were lost.
    while (lost() < tries)
      await fetch(`${network.url}/api/v1/auth/refresh`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ refresh_token: ann.refreshToken }),
      }).then(
        (response) => expect(`an answer came: ${response.status}`).toBe('none'),
        () => undefined,
      )
    const { status, body } = await refresh({ ...server, url: network.url }, ann.refreshToken)
    expect(status).toBe(200)
    expect((await refresh(other, ann.refreshToken)).body.refresh_token).toBe(body.refresh_token)
    const sessions = await asBearer(other, body.access_token).get('/auth/sessions')
    expect(sessions.body.data).toHaveLength(1)
    expect(await isGood(body)).toBe(true)
    expect((await refresh(server, ann.refreshToken)).body.code).toBe('refresh_token_reused')
  })

  test('whose request never arrives leaves the token unused', async () => {
    const ann = await makeUser(server, tenant)
    network.cut()
    network.drop('toServer')
    const attempt = refresh({ ...server, url: network.url }, ann.refreshToken).catch(() => null)
    await until(() => network.open() > 0, 'a connection')
    network.cut()
    network.flow()
    expect(await attempt).toBeNull()
    const { body } = await refresh(other, ann.refreshToken)
    expect(await isGood(body)).toBe(true)
  })

  test('by many devices of one user at once, each on two instances, costs none its session', async () => {
    const ann = await makeUser(server, tenant)
    const phones = await Promise.all(Array.from({ length: 7 }, () => login(other, ann.email)))
    const rounds = async (token: string): Promise<string> => {
      let now = token
      for (let round = 0; round < 4; round++) {
        const answers = await Promise.all([server, other].map((instance) => refresh(instance, now)))
        expect(answers.map(({ status }) => status)).toEqual([200, 200])
        expect(answers[0]?.body.refresh_token).toBe(answers[1]?.body.refresh_token)
        now = answers[0]?.body.refresh_token
      }
      return now
    }
    const tokens = [ann.refreshToken, ...phones.map(({ body }) => body.refresh_token)]
    const ends = await Promise.all(tokens.map(rounds))
    expect(new Set(ends).size).toBe(8)
    for (const token of ends) expect(await isGood({ refresh_token: token })).toBe(true)
    expect((await ann.api.get('/auth/sessions')).body.data).toHaveLength(8)
  })

  test('raced by a thief with an older token ends the session for both, whoever is first', async () => {
    for (let round = 0; round < 4; round++) {
      const ann = await makeUser(server, tenant)
      const second = (await refresh(server, ann.refreshToken)).body
      const third = (await refresh(server, second.refresh_token)).body
      const [hers, theirs] = await Promise.all([
        refresh(round % 2 ? server : other, third.refresh_token),
        refresh(round % 2 ? other : server, ann.refreshToken),
      ])
      expect(theirs.body.code).toBeOneOf(['refresh_token_reused', 'refresh_token_invalid'])
      const left = [third, ...(hers.status === 200 ? [hers.body] : [])]
      for (const { refresh_token } of left)
        expect((await refresh(other, refresh_token)).body.code).toBe('refresh_token_invalid')
      await Promise.all(
        left.flatMap(({ access_token }) =>
          [server, other].map((instance) => endsWithinASecond(instance, access_token)),
        ),
      )
    }
  })

  const endings: [string, (ann: Person) => Promise<() => Promise<{ status: number }>>][] = [
    ['logout', async (ann) => () => ann.api.post('/auth/logout')],
    ['deactivation', async (ann) => () => tenant.admin.api.delete(`/users/${ann.id}`)],
    [
      'a change of password on another device',
      async (ann) => {
        const { body } = await login(server, ann.email)
        const change = { current_password: goodPassword, new_password: newPassword }
        return () => asBearer(server, body.access_token).post('/auth/change-password', change)
      },
    ],
    [
      'a password reset',
      async (ann) => {
        const reset = { token: await resetTokenFor(server, ann.email), new_password: newPassword }
        return () => createClient(server.url).post('/auth/reset-password', reset)
      },
    ],
  ]

  test.each(endings)('raced with %s on another instance leaves no valid token', async (_what, prepare) => {
    for (let round = 0; round < 2; round++) {
      const ann = await makeUser(server, tenant)
      const end = await prepare(ann)
      const [ended, ...renewed] = await Promise.all([
        end(),
        refresh(other, ann.refreshToken),
        refresh(other, ann.refreshToken),
      ])
      expect(ended.status).toBe(204)
      for (const { status, body } of renewed) {
        if (status !== 200) expect([status, body.code]).toEqual([401, 'refresh_token_invalid'])
        else {
          await endsWithinASecond(other, body.access_token)
          expect((await refresh(other, body.refresh_token)).body.code).toBe('refresh_token_invalid')
        }
      }
      await endsWithinASecond(other, ann.accessToken)
      expect((await refresh(other, ann.refreshToken)).body.code).toBe('refresh_token_invalid')
    }
  })
})
