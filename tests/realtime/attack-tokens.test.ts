/** Tokens sent on an open socket: only a newer one of the same user and role replaces the old one. */
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { claimsOf, forge, headerOf, login, refresh } from '../support/auth.ts'
import { addItem, makeList, makeTenant, makeUser, type Person, type Tenant } from '../support/people.ts'
import { describeService, sharedServer, startInstance, type TestServer } from '../support/server.ts'
import { closeCode, closeSockets, openSocket } from '../support/socket.ts'

describeService('authenticate', (backend) => {
  let server: TestServer
  let other: TestServer
  let tenant: Tenant
  let ann: Person

  beforeAll(async () => {
    server = await sharedServer(backend)
    other = backend === 'full' ? await startInstance(server) : server
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant)
  })
  afterEach(closeSockets)
  afterAll(async () => {
    if (other !== server) await other.stop()
  })

  const now = (): number => Math.floor(Date.now() / 1000)
  const secret = (): string => server.environment['JWT_SECRET_KEY'] ?? ''
  const resigned = (person: Person, claims: Record<string, unknown>, key = secret(), alg = 'HS256') =>
    forge({ ...claimsOf(person.accessToken), ...claims }, key, { alg, typ: 'JWT' })

  test('refuses every token that is not a newer one of this user with token_invalid; the old one stays valid', async () => {
    const colleague = await makeUser(server, tenant)
    const stranger = (await makeTenant(server)).admin
    const { id } = await makeList(ann)
    const deactivated = await makeUser(server, tenant)
    await tenant.admin.api.delete(`/users/${deactivated.id}`)
    const invited = await ann.api.post(`/shopping-lists/${id}/invite`, { email: colleague.email })
    const gone = (await login(server, ann.email)).body
    await fetch(`${server.url}/api/v1/auth/logout`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gone.access_token}` },
    })
    const later = { exp: now() + 5000 }
    const [header, body, signature] = ann.accessToken.split('.')
    const swapped = Buffer.from(JSON.stringify({ ...claimsOf(ann.accessToken), ...later })).toString(
      'base64url',
    )
    const refused: Record<string, string> = {
      "a colleague's": colleague.accessToken,
      "another tenant's admin's": stranger.accessToken,
      "a deactivated user's": deactivated.accessToken,
      'of a session that was ended': gone.access_token,
      refresh: ann.refreshToken,
      'an invitation': invited.body.token,
      expired: resigned(ann, { exp: now() - 1 }),
      older: resigned(ann, { exp: Number(claimsOf(ann.accessToken)['exp']) - 1 }),
      'of another kind': resigned(ann, { ...later, typ: 'refresh' }),
      'for another audience': resigned(ann, { ...later, aud: 'minimart-invitation' }),
      'of another issuer': resigned(ann, { ...later, iss: 'elsewhere' }),
      'of no issuer': resigned(ann, { ...later, iss: undefined }),
      'of a role there is not': resigned(ann, { ...later, role: 'owner' }),
      'of an earlier epoch of another user': resigned(ann, { ...later, sub: colleague.id }),
      'signed by another secret': resigned(ann, later, 'another secret that is long enough to sign with'),
      unsigned: resigned(ann, later, '', 'none'),
      'of another algorithm': resigned(ann, later, secret(), 'HS512'),
      'with its claims swapped': [header, swapped, signature].join('.'),
      'without its signature': [header, body, ''].join('.'),
      'with a scheme': `Bearer ${ann.accessToken}`,
      twice: `${ann.accessToken}.${ann.accessToken}`,
      'with an unpaired surrogate': `${ann.accessToken}\ud800`,
      'as long as can be': 'x'.repeat(4096),
      nothing: '',
    }
    expect(headerOf(ann.accessToken)['alg']).toBe('HS256')
    const socket = await openSocket(server, ann.accessToken)
    await socket.follow(id)
    for (const [name, token] of Object.entries(refused)) socket.send('authenticate', { token }, name)
    await socket.settled()
    const message = 'Not a newer token of the same user; the current one stays.'
    expect(socket.messages.slice(2, -1)).toEqual(
      Object.keys(refused).map((name) => ({
        type: 'error',
        payload: { code: 'token_invalid', message },
        id: name,
      })),
    )
    await addItem(ann, id)
    expect((await socket.next('item_added')).payload.list_id).toBe(id)
    await ann.api.post('/auth/logout')
    expect(await closeCode(socket, 1000)).toBe(4001)
  })

  test('with a token of another role closes the socket: its subscriptions were authorized for the old one', async () => {
    const ben = await makeUser(server, tenant, { role: 'tenant_admin' })
    const socket = await openSocket(server, ben.accessToken)
    socket.send('authenticate', { token: resigned(ben, { role: 'member', exp: now() + 5000 }) })
    expect(await closeCode(socket)).toBe(4001)
    expect(socket.messages.map(({ type }) => type)).toEqual(['connected'])
  })

  test('cannot outrun a lost role, even where the instance does not know of it yet', async () => {
    const cid = await makeUser(server, tenant, { role: 'tenant_admin' })
    const { id } = await makeList(tenant.admin)
    const socket = await openSocket(other, cid.accessToken)
    await socket.follow(id)
    expect((await tenant.admin.api.patch(`/users/${cid.id}`, { role: 'member' })).status).toBe(200)
    const renewed = (await refresh(server, cid.refreshToken)).body.access_token
    if (socket.isOpen()) socket.send('authenticate', { token: renewed })
    expect(await closeCode(socket, 1000)).toBe(4001)
    await addItem(tenant.admin, id)
    expect(socket.seqs(id)).toEqual([])
  })
})
