/** Invitations that do not work: the error for each reason, and which reason comes first. */
import { beforeAll, expect, test } from 'bun:test'
import { createHmac } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { claimsOf } from '../../support/auth.ts'
import { eventsOf, outcome } from '../../support/history.ts'
import {
  join,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
  type Tenant,
} from '../../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../../support/server.ts'

describeBackends('refused invitations', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let owner: Person
  let guest: Person
  let other: Person

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    owner = await makeUser(server, tenant, { name: 'olga' })
    guest = await makeUser(server, tenant, { name: 'guest' })
    other = await makeUser(server, tenant, { name: 'other' })
  })

  const invitedBy = async (person: Person, listId: string, invitee = guest): Promise<string> => {
    const answer = await person.api.post(`/shopping-lists/${listId}/invite`, { email: invitee.email })
    expect(answer.status).toBe(201)
    return answer.body.token
  }
  const accepting = async (token: string, person = guest) =>
    outcome(await person.api.post('/invitations/accept', { token }))
  const rejecting = async (token: string, person = guest) =>
    outcome(await person.api.post('/invitations/reject', { token }))
  const previewing = async (token: string) => outcome(await guest.api.post('/invitations/preview', { token }))
  const everywhere = async (token: string) =>
    new Set([await accepting(token), await rejecting(token), await previewing(token)])

  const encode = (part: unknown): string => Buffer.from(JSON.stringify(part)).toString('base64url')
  const secret = (): string => server.environment['JWT_SECRET_KEY'] ?? ''
  const signed = (head: object, claims: object, key = secret()): string => {
    const text = `${encode(head)}.${encode(claims)}`
    return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`
  }
  /** The same invitation with other claims, signed with the server's own key. */
  const forged = (token: string, change: object, key = secret()): string => {
    const [head, claims] = token
      .split('.', 2)
      .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()))
    return signed(head, { ...claims, ...change }, key)
  }

  test('one that the release before redeemed is spent, and one redeemed here is spent there as well', async () => {
    const { db } = server.running.deps
    const { id } = await makeList(owner)
    const before = await invitedBy(owner, id)
    const jti = (token: string) => String(claimsOf(token)['jti'])
    await db.write(
      { tenantId: tenant.id },
      sql`insert into revocations (tenant_id, subject, minimum_epoch) values (${tenant.id}, ${jti(before)}, 1)`,
    )
    expect(await everywhere(before)).toEqual(new Set(['409 invitation_spent']))

    const [accepted, rejected] = [
      await invitedBy(owner, id),
      await invitedBy(owner, (await makeList(owner)).id),
    ]
    expect([await accepting(accepted), await rejecting(rejected)]).toEqual(['200', '204'])
    for (const token of [accepted, rejected]) {
      const gone = await db.write(
        { tenantId: tenant.id },
        sql`delete from revocations where tenant_id = ${tenant.id} and subject = ${jti(token)} returning 1`,
      )
      expect(gone).toHaveLength(1)
      // Once no release writes there any more.
      expect(await everywhere(token)).toEqual(new Set(['409 invitation_spent']))
    }
  })

  test('anything but an invitation of this service is invalid', async () => {
    const { id } = await makeList(owner)
    const token = await invitedBy(owner, id)
    expect(await accepting(forged(token, {}))).toBe('200')
    const fresh = await invitedBy(owner, (await makeList(owner)).id)
    const [head = '', claims = ''] = fresh.split('.')
    for (const bad of [
      'nonsense',
      'a.b.c',
      `${fresh}x`,
      `${head}.${claims}.`,
      `${encode({ alg: 'none', typ: 'JWT' })}.${claims}.`,
      forged(fresh, {}, 'another key of thirty-two bytes or more'),
      forged(fresh, { typ: 'access' }),
      forged(fresh, { aud: 'minimart' }),
      forged(fresh, { iss: 'elsewhere' }),
      forged(fresh, { role: 'owner' }),
      forged(fresh, { role: 'tenant_admin' }),
      forged(fresh, { jti: 'not an id' }),
      forged(fresh, { exp: undefined }),
      guest.accessToken,
      guest.refreshToken,
    ])
      expect([bad, ...(await everywhere(bad))]).toEqual([bad, '400 invitation_invalid'])
    expect(await accepting(fresh)).toBe('200')
  })

  test('an invitation works as no other kind of token', async () => {
    const token = await invitedBy(owner, (await makeList(owner)).id)
    expect((await owner.api.get('/shopping-lists', { token })).status).toBe(401)
  })

  test('an expired one is reported as such, from the second it expires, before anything else', async () => {
    const { id } = await makeList(owner)
    const token = await invitedBy(owner, id)
    const now = Math.floor(Date.now() / 1000)
    for (const exp of [now, now - 60, now - 86_400 * 365])
      expect([...(await everywhere(forged(token, { exp })))]).toEqual(['410 invitation_expired'])
    const expired = forged(token, { exp: now - 1 })
    expect(await accepting(expired, other)).toBe('410 invitation_expired')
    expect(await accepting(token)).toBe('200')
    expect(await accepting(expired)).toBe('410 invitation_expired')
  })

  test('it works only for the invitee: not for colleagues, the owner, an admin or another tenant', async () => {
    const { id } = await makeList(owner)
    const token = await invitedBy(owner, id)
    const elsewhere = await makeUser(server, await makeTenant(server))
    for (const person of [other, owner, tenant.admin, elsewhere]) {
      expect(await accepting(token, person)).toBe('403 invitation_not_for_you')
      expect(await rejecting(token, person)).toBe('403 invitation_not_for_you')
    }
    const moved = forged(token, { tid: Bun.randomUUIDv7() })
    expect(await accepting(moved)).toBe('403 invitation_not_for_you')
    expect(await accepting(token)).toBe('200')
  })

  test('it works once, even after leaving, removal or a lost answer', async () => {
    const { id } = await makeList(owner)
    const token = await invitedBy(owner, id)
    expect(await accepting(token)).toBe('200')
    expect([...(await everywhere(token))]).toEqual(['409 invitation_spent'])
    await guest.api.delete(`/shopping-lists/${id}/members/${guest.id}`)
    expect([...(await everywhere(token))]).toEqual(['409 invitation_spent'])
    await join(owner, id, guest)
    await owner.api.delete(`/shopping-lists/${id}/members/${guest.id}`)
    expect([...(await everywhere(token))]).toEqual(['409 invitation_spent'])
    expect(outcome(await guest.api.get(`/shopping-lists/${id}`))).toBe('404 not_found')
    expect(await eventsOf(owner, id)).toHaveLength(4)
  })

  test('invitation_spent comes before every error but invalid and expired', async () => {
    const { id } = await makeList(owner)
    const token = await invitedBy(owner, id)
    expect(await accepting(token)).toBe('200')
    expect(await accepting(token, other)).toBe('409 invitation_spent')
    await owner.api.delete(`/shopping-lists/${id}`)
    expect([...(await everywhere(token))]).toEqual(['409 invitation_spent'])
  })

  test('someone who is a member by now gets an error, and the invitation stays unused', async () => {
    const { id } = await makeList(owner)
    const [first, second] = [await invitedBy(owner, id), await invitedBy(owner, id)]
    expect(await accepting(first)).toBe('200')
    expect(await accepting(second)).toBe('409 already_member')
    await guest.api.delete(`/shopping-lists/${id}/members/${guest.id}`)
    expect(await accepting(second)).toBe('200')
  })

  test('it is void while its list is deleted, and works again once the list is restored', async () => {
    const { id } = await makeList(owner)
    const token = await invitedBy(owner, id)
    await owner.api.delete(`/shopping-lists/${id}`)
    expect([...(await everywhere(token))]).toEqual(['410 invitation_void'])
    await owner.api.post(`/shopping-lists/${id}/restore`)
    expect(await accepting(token)).toBe('200')
  })

  test('it is void when the inviter no longer owns the list, has left it, or is no longer an admin', async () => {
    const { id } = await makeList(owner)
    await join(owner, id, other)
    const token = await invitedBy(owner, id)
    await owner.api.patch(`/shopping-lists/${id}/members/${other.id}`, { role: 'owner' })
    expect([...(await everywhere(token))]).toEqual(['410 invitation_void'])
    await owner.api.delete(`/shopping-lists/${id}/members/${owner.id}`)
    expect([...(await everywhere(token))]).toEqual(['410 invitation_void'])

    const admin = await makeUser(server, tenant, { role: 'tenant_admin' })
    const byAdmin = await invitedBy(admin, id)
    expect(await previewing(byAdmin)).toBe('200')
    expect((await tenant.admin.api.patch(`/users/${admin.id}`, { role: 'member' })).status).toBe(200)
    expect([...(await everywhere(byAdmin))]).toEqual(['410 invitation_void'])
  })

  test('it is void while the inviter is deactivated', async () => {
    const leaving = await makeUser(server, tenant)
    const { id } = await makeList(leaving)
    const token = await invitedBy(leaving, id)
    await tenant.admin.api.delete(`/users/${leaving.id}`)
    expect([...(await everywhere(token))]).toEqual(['410 invitation_void'])
    await tenant.admin.api.patch(`/users/${leaving.id}`, { is_active: true })
    expect(await accepting(token)).toBe('200')
  })

  test('it is void while the whole tenant is deactivated', async () => {
    const closing = await makeTenant(server)
    const colleague = await makeUser(server, closing)
    const token = await invitedBy(closing.admin, (await makeList(closing.admin)).id, colleague)
    const root = await superAdmin(server)
    await root.api.delete(`/tenants/${closing.id}`)
    expect(await previewing(token)).toBe('410 invitation_void')
    await root.api.patch(`/tenants/${closing.id}`, { is_active: true })
    expect(await previewing(token)).toBe('200')
  })

  test('accepting and rejecting need a sign-in; a super admin can do neither', async () => {
    const token = await invitedBy(owner, (await makeList(owner)).id)
    for (const action of ['accept', 'reject']) {
      const unsigned = await guest.api.post(`/invitations/${action}`, { token }, { token: 'x' })
      expect(unsigned.status).toBe(401)
    }
    expect(await accepting(token)).toBe('200')
  })
})
