import { afterAll, beforeAll, expect, test } from 'bun:test'
import {
  createMemoryStorage,
  createMiniMart,
  MiniMartError,
  type StoredSession,
} from '../../src/client/index.ts'
import { claimsOf, endsWithinASecond, forge, later } from '../support/auth.ts'
import { addItem, makeList, makeTenant, makeUser, type Person, type Tenant } from '../support/people.ts'
import { type BadNetwork, startProxy } from '../support/proxy.ts'
import { describeService, sharedServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'
import { clientOf, quick, watch } from './setup.ts'

describeService('a session of the client', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let proxy: BadNetwork
  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    proxy = await startProxy(server.url)
  })
  afterAll(() => proxy.stop())

  const person = (name = 'Ann'): Promise<Person> => makeUser(server, tenant, { name })

  /** Counts the refreshes a client sends. */
  const counting = () => {
    const counted = { refreshes: 0 }
    const fetching: typeof fetch = Object.assign(
      (...[url, init]: Parameters<typeof fetch>) => {
        if (String(url).endsWith('/auth/refresh')) counted.refreshes++
        return fetch(url, init)
      },
      { preconnect: fetch.preconnect },
    )
    return { counted, fetch: fetching }
  }

  test('is restored from its storage without signing in', async () => {
    const ann = await person()
    const tokens = createMemoryStorage()
    await clientOf(ann, server.url, { tokens })
    const mart = createMiniMart({ baseUrl: 'http://127.0.0.1:9', tokens })
    expect((await mart.user())?.id).toBe(ann.id)
    expect(await createMiniMart({ baseUrl: server.url }).user()).toBeNull()
  })

  test('refreshes once, however many calls find the token expired', async () => {
    const { counted, fetch } = counting()
    const mart = await clientOf(await person(), server.url, { fetch })
    await later(16 * 60, async () => {
      await Promise.all(Array.from({ length: 10 }, () => mart.account.me()))
    })
    expect(counted.refreshes).toBe(1)
  })

  test('refreshes when an unexpired token is refused, as after a change of role', async () => {
    const ann = await person()
    const mart = await clientOf(ann, server.url)
    await tenant.admin.api.patch(`/users/${ann.id}`, { role: 'tenant_admin' })
    await endsWithinASecond(server, ann.accessToken)
    expect((await mart.account.me()).role).toBe('tenant_admin')
    expect((await mart.user())?.role).toBe('tenant_admin')
  })

  test('survives two lost responses to its refresh', async () => {
    const tokens = createMemoryStorage()
    const mart = await clientOf(await person(), proxy.url, { tokens })
    const before = await tokens.load()
    const lost = proxy.loseAnswersTo('POST /api/v1/auth/refresh', 2)
    await later(16 * 60, () => mart.account.me())
    expect(lost()).toBe(2)
    expect((await tokens.load())?.refresh_token).not.toBe(before?.refresh_token)
  })

  test('picks up tokens that another page on the same storage has refreshed', async () => {
    const ann = await person()
    const tokens = createMemoryStorage()
    const one = await clientOf(ann, server.url, { tokens })
    const { counted, fetch } = counting()
    const other = createMiniMart({ baseUrl: server.url, tokens, fetch })
    await other.user()
    await later(16 * 60, async () => {
      await one.account.me()
      await other.account.me()
    })
    expect(counted.refreshes).toBe(0)
  })

  test('ends when the service ends it: the storage is cleared, subscriptions end, and it is reported once', async () => {
    const ann = await person()
    const { id } = await makeList(ann)
    const tokens = createMemoryStorage()
    const reasons: string[] = []
    const mart = await clientOf(ann, server.url, { tokens, onSignedOut: (reason) => reasons.push(reason) })
    const seen = watch(mart, id)
    await seen.becomes('live')
    await tenant.admin.api.delete(`/users/${ann.id}`)
    expect(await seen.becomes('ended')).toEqual({ phase: 'ended', reason: 'signed_out' })
    expect(await tokens.load()).toBeNull()
    expect(reasons).toEqual(['session_ended'])
    const failure = await mart.account.me().catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(MiniMartError)
    expect(failure).toMatchObject({ status: 401, code: 'signed_out' })
  })

  test('ends when its refresh token was used by someone else', async () => {
    const ann = await person()
    const tokens = createMemoryStorage()
    const reasons: string[] = []
    const mart = await clientOf(ann, server.url, { tokens, onSignedOut: (reason) => reasons.push(reason) })
    const stolen = (await tokens.load())?.refresh_token
    for (const refresh_token of [stolen, stolen]) {
      const answer = await ann.api.post('/auth/refresh', { refresh_token })
      expect(answer.status).toBe(200)
    }
    await later(16 * 60, async () => {
      expect(await mart.account.me().catch(({ code }) => code)).toBe('signed_out')
    })
    expect(reasons).toEqual(['session_ended'])
  })

  test('signs out on the server, and locally even when the server cannot be reached', async () => {
    const ann = await person()
    const tokens = createMemoryStorage()
    const mart = await clientOf(ann, proxy.url, { tokens })
    const { access_token } = (await tokens.load()) ?? { access_token: '' }
    await mart.signOut()
    await endsWithinASecond(server, access_token)
    await mart.signIn(ann.email, ann.password)
    proxy.offline()
    expect(await mart.signOut().catch(({ code }) => code)).toBe('network_error')
    proxy.online()
    expect(await mart.user()).toBeNull()
    expect(await tokens.load()).toBeNull()
  })

  /** Ann's session with an access token about to expire. */
  const shortLived = async (ann: Person, seconds: number): Promise<StoredSession> => {
    const tokens = createMemoryStorage()
    await clientOf(ann, server.url, { tokens })
    const session = await tokens.load()
    if (!session) throw new Error('there is no session')
    const exp = Math.floor(Date.now() / 1000) + seconds
    const secret = server.environment['JWT_SECRET_KEY'] ?? ''
    const claims = { ...claimsOf(session.access_token), exp }
    return { ...session, access_token: forge(claims, secret, { alg: 'HS256', typ: 'JWT' }) }
  }

  test("gives its socket a new token before the old one expires, by the server's clock", async () => {
    const ann = await person()
    const { id } = await makeList(ann)
    const tokens = createMemoryStorage()
    const session = await shortLived(ann, 4)
    await tokens.save(session)
    const now = (): number => Date.now() - 8000
    const mart = createMiniMart({ baseUrl: server.url, tokens, timing: quick, random: () => 0, now })
    const seen = watch(mart, id)
    await seen.becomes('live')
    await until(() => Date.now() > Date.parse(expiryOf(session)) + 1500, 'the end of the first token')
    await addItem(ann, id)
    await seen.reaches(1)
    expect(seen.statuses).toEqual(['live'])
    mart.close()
  })

  test('reconnects with a new token when the old one expired under its socket', async () => {
    const ann = await person()
    const { id } = await makeList(ann)
    const mart = await clientOf(ann, server.url)
    const seen = watch(mart, id)
    await seen.becomes('live')
    await tenant.admin.api.patch(`/users/${ann.id}`, { role: 'tenant_admin' })
    await until(() => seen.statuses.includes('offline'), 'the end of the socket')
    await seen.becomes('live')
    expect((await mart.user())?.role).toBe('tenant_admin')
    mart.close()
  })
})

const expiryOf = ({ access_token }: StoredSession): string =>
  new Date(Number(claimsOf(access_token)['exp']) * 1000).toISOString()
