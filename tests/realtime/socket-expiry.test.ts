/** A token expires under an open socket, and a newer one keeps it open. The tests wait in real time, so they run together. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { claimsOf, forge, login } from '../support/auth.ts'
import { addItem, makeList, makeTenant, makeUser, type Person, type Tenant } from '../support/people.ts'
import { describeService, sharedServer, type TestServer } from '../support/server.ts'
import { closeCode, closeSockets, openSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

describeService('the token of a socket', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant)
  })
  afterAll(closeSockets)

  const now = (): number => Math.floor(Date.now() / 1000)
  const iso = (seconds: number): string => new Date(seconds * 1000).toISOString()
  /** A token of this person's session that expires at `exp`. */
  const tokenUntil = (exp: number, person = ann): string =>
    forge({ ...claimsOf(person.accessToken), exp }, server.environment['JWT_SECRET_KEY'] ?? '', {
      alg: 'HS256',
      typ: 'JWT',
    })

  test.concurrent('closes it with 4001 when it expires, and not before', async () => {
    const { id } = await makeList(ann)
    const exp = now() + 6
    const socket = await openSocket(server, tokenUntil(exp))
    expect((await socket.next('connected')).payload.expires_at).toBe(iso(exp))
    await socket.follow(id)
    await addItem(ann, id)
    await socket.next('item_added')
    expect(await closeCode(socket, 10_000)).toBe(4001)
    expect(Date.now()).toBeGreaterThanOrEqual(exp * 1000)
    expect(Date.now()).toBeLessThan((exp + 2) * 1000)
  })

  test.concurrent('is announced as expiring 60 s before, once', async () => {
    const exp = now() + 62
    const socket = await openSocket(server, tokenUntil(exp))
    await socket.settled()
    const warning = await socket.next('token_expiring')
    expect(warning).toEqual({ type: 'token_expiring', payload: { expires_at: iso(exp) } })
    expect(Date.now()).toBeGreaterThanOrEqual((exp - 60) * 1000)
    expect(Date.now()).toBeLessThan((exp - 58) * 1000)
    const short = await openSocket(server, tokenUntil(now() + 4))
    expect(await closeCode(short, 8000)).toBe(4001)
    expect(short.messages.filter(({ type }) => type === 'token_expiring')).toHaveLength(1)
    expect(socket.messages.filter(({ type }) => type === 'token_expiring')).toHaveLength(1)
  })

  test.concurrent('a newer one of the same user keeps it open past the old one, with its subscriptions', async () => {
    const { id } = await makeList(ann)
    const [old, newer] = [now() + 6, now() + 30]
    const socket = await openSocket(server, tokenUntil(old))
    const witness = await openSocket(server, tokenUntil(old))
    const warnings = () => socket.messages.filter(({ type }) => type === 'token_expiring')
    await socket.follow(id)
    // On a busy machine it comes before the answer to the subscription.
    await until(() => warnings().length > 0)
    expect(warnings()[0]?.payload.expires_at).toBe(iso(old))
    socket.send('authenticate', { token: tokenUntil(newer) }, 'renew')
    expect(await socket.next('authenticated')).toEqual({
      type: 'authenticated',
      payload: { expires_at: iso(newer) },
      id: 'renew',
    })
    expect(await closeCode(witness, 10_000)).toBe(4001)
    await addItem(ann, id)
    await socket.next('item_added')
    expect(Date.now()).toBeGreaterThanOrEqual(old * 1000)
    // The newer one is short-lived too, so it is announced as well.
    await until(() => warnings().at(-1)?.payload.expires_at === iso(newer))
  })

  test.concurrent('may come from another session of the same user', async () => {
    const socket = await openSocket(server, ann.accessToken)
    socket.send('authenticate', { token: (await login(server, ann.email)).body.access_token })
    await socket.next('authenticated')
  })

  test.concurrent('any other is refused, and the old one stays valid', async () => {
    const ben = await makeUser(server, tenant)
    const gone = (await login(server, ann.email)).body
    await fetch(`${server.url}/api/v1/auth/logout`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gone.access_token}` },
    })
    const exp = now() + 6
    const socket = await openSocket(server, tokenUntil(exp))
    const refused = {
      older: tokenUntil(exp - 1),
      expired: tokenUntil(now() - 5),
      "another user's": ben.accessToken,
      "another's longer": tokenUntil(now() + 5000, ben),
      revoked: gone.access_token,
      refresh: ann.refreshToken,
      garbage: 'x.y.z',
      empty: '',
      'a null byte': '\u0000',
    }
    for (const [name, token] of Object.entries(refused)) {
      socket.send('authenticate', { token }, name)
      const answer = await socket.next('error')
      expect([answer.id, answer.payload.code]).toEqual([name, 'token_invalid'])
      expect(JSON.stringify(answer)).not.toContain(token || 'no token at all')
    }
    await socket.settled()
    expect(await closeCode(socket, 10_000)).toBe(4001)
    expect(Date.now()).toBeGreaterThanOrEqual(exp * 1000)
  })
})
