/** Inviting, previewing, accepting and rejecting. */
import { beforeAll, describe, expect, test } from 'bun:test'
import { createClient } from '../../support/client.ts'
import { eventsOf, outcome, refusedFields } from '../../support/history.ts'
import {
  freshEmail,
  goodPassword,
  join,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  type Tenant,
} from '../../support/people.ts'
import { describeBackends, sharedServer, startServer, type TestServer } from '../../support/server.ts'
import { linkIn } from '../../support/smtp.ts'

describeBackends('invitations', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let owner: Person
  let guest: Person

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    owner = await makeUser(server, tenant, { name: 'Olga' })
    guest = await makeUser(server, tenant, { name: 'guest' })
  })

  const inviting = (person: Person, listId: string, body: Record<string, unknown>) =>
    person.api.post(`/shopping-lists/${listId}/invite`, body)
  const invited = async (listId: string, person = guest, role?: string): Promise<string> => {
    const answer = await inviting(owner, listId, { email: person.email, ...(role ? { role } : {}) })
    expect(answer.status).toBe(201)
    return answer.body.token
  }

  test('the invitee is mailed a link with the token of the answer, which lasts 72 hours', async () => {
    const { id } = await makeList(owner, 'Picnic')
    const before = Date.now()
    const answer = await inviting(owner, id, { email: guest.email.toUpperCase() })
    expect(answer.status).toBe(201)
    const { token, url, expires_at, ...rest } = answer.body
    expect(rest).toEqual({ list_id: id, email: guest.email, role: 'editor' })
    expect(url).toBe(`${server.url}/invite?token=${token}`)
    const lifeMs = Date.parse(expires_at) - before
    expect(lifeMs).toBeWithin(72 * 3_600_000 - 2000, 72 * 3_600_000 + 10_000)
    const mail = await server.inbox.waitFor(guest.email, ({ text }) => text.includes('Picnic'))
    expect(linkIn(mail).href).toBe(url)
    expect(mail.text).toContain('Olga')
    expect(await eventsOf(owner, id)).toEqual([])
    expect((await owner.api.get(`/shopping-lists/${id}`)).body.members).toHaveLength(1)
  })

  test('the token states list, tenant, address, role, inviter, its own id, type and expiry', async () => {
    const { id } = await makeList(owner)
    const [, payload = ''] = (await invited(id, guest, 'viewer')).split('.')
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
    expect(claims).toMatchObject({ typ: 'invitation', role: 'viewer', exp: expect.any(Number) })
    for (const value of [id, tenant.id, guest.email, owner.id]) expect(Object.values(claims)).toContain(value)
    expect(claims.jti).toMatch(/^[0-9a-f-]{36}$/)
  })

  test('whoever holds it may preview it without signing in, which does not redeem it', async () => {
    const { id } = await makeList(owner, 'Party')
    const made = (await inviting(owner, id, { email: guest.email, role: 'viewer' })).body
    for (let look = 0; look < 2; look++) {
      const preview = await createClient(server.url).post('/invitations/preview', { token: made.token })
      expect(preview.status).toBe(200)
      expect(preview.body).toEqual({
        list_id: id,
        list_name: 'Party',
        invited_by: 'Olga',
        email: guest.email,
        role: 'viewer',
        expires_at: made.expires_at,
      })
    }
    expect((await guest.api.post('/invitations/accept', { token: made.token })).status).toBe(200)
  })

  test('accepting returns the summary with the invited role and is one member_joined', async () => {
    for (const role of ['editor', 'viewer']) {
      const { id } = await makeList(owner, 'Joined')
      await owner.api.post(`/shopping-lists/${id}/items`, { name: 'Milk' })
      const accepted = await guest.api.post('/invitations/accept', { token: await invited(id, guest, role) })
      expect([accepted.status, accepted.headers.get('etag')]).toEqual([200, '"1"'])
      expect(accepted.body).toMatchObject({ id, role, seq: 2, version: 1, name: 'Joined' })
      expect(accepted.body).toMatchObject({ item_count: 1, pending_count: 1, member_count: 2 })
      const mine = (await guest.api.get('/shopping-lists?limit=1')).body.data
      expect(mine).toEqual([accepted.body])
      const [event] = await eventsOf(guest, id, 1)
      expect(event).toMatchObject({ type: 'member_joined', actor_id: guest.id })
      const member = { user_id: guest.id, full_name: 'guest', email: guest.email, role }
      expect(event?.payload).toEqual({ list_id: id, member: { ...member, joined_at: expect.any(String) } })
    }
  })

  test('rejecting redeems it and changes nothing on the list', async () => {
    const { id } = await makeList(owner)
    const token = await invited(id)
    const rejected = await guest.api.post('/invitations/reject', { token })
    expect([rejected.status, rejected.text]).toEqual([204, ''])
    for (const action of ['accept', 'reject', 'preview'])
      expect(outcome(await guest.api.post(`/invitations/${action}`, { token }))).toBe('409 invitation_spent')
    expect(outcome(await guest.api.get(`/shopping-lists/${id}`))).toBe('404 not_found')
    expect(await eventsOf(owner, id)).toEqual([])
    const second = await guest.api.post('/invitations/accept', { token: await invited(id) })
    expect(second.status).toBe(200)
  })

  test('only the owner and an admin invite, and only to existing lists they see', async () => {
    const { id } = await makeList(owner)
    const [editor, stranger] = [await makeUser(server, tenant), await makeUser(server, tenant)]
    await join(owner, id, editor)
    expect(outcome(await inviting(editor, id, { email: guest.email }))).toBe('403 forbidden')
    expect(outcome(await inviting(stranger, id, { email: guest.email }))).toBe('404 not_found')
    expect((await inviting(tenant.admin, id, { email: guest.email })).status).toBe(201)
    expect(outcome(await inviting(owner, Bun.randomUUIDv7(), { email: guest.email }))).toBe('404 not_found')
  })

  test('roles beyond editor and viewer, missing addresses and unknown fields are refused', async () => {
    const { id } = await makeList(owner)
    const refused = async (body: Record<string, unknown>) => refusedFields(await inviting(owner, id, body))
    expect(await refused({})).toEqual(['email'])
    expect(await refused({ email: 'nobody' })).toEqual(['email'])
    for (const role of ['owner', 'tenant_admin', null])
      expect(await refused({ email: guest.email, role })).toEqual(['role'])
    expect(await refused({ email: guest.email, message: 'hi' })).toEqual(['message'])
    for (const action of ['accept', 'reject', 'preview'])
      expect(refusedFields(await guest.api.post(`/invitations/${action}`, {}))).toEqual(['token'])
  })

  test('a member is not invited again', async () => {
    const { id } = await makeList(owner)
    await join(owner, id, guest)
    expect(outcome(await inviting(owner, id, { email: guest.email }))).toBe('409 already_member')
    expect(outcome(await inviting(owner, id, { email: owner.email }))).toBe('409 already_member')
  })

  describe('addresses', () => {
    test("unknown, deactivated and other tenants' addresses get the same answer", async () => {
      const { id } = await makeList(owner)
      const elsewhere = await makeUser(server, await makeTenant(server))
      const gone = await makeUser(server, tenant)
      await tenant.admin.api.delete(`/users/${gone.id}`)
      const answers = []
      for (const email of [freshEmail('unknown'), elsewhere.email, gone.email, server.superAdmin.email]) {
        const { status, headers, text } = await inviting(owner, id, { email })
        const kept = [...headers].filter(([name]) => !['date', 'x-request-id'].includes(name))
        answers.push({ status, kept, text: text.replace(/"request_id":"[^"]+"/, '') })
      }
      expect(answers[0]).toMatchObject({ status: 422, text: expect.stringContaining('"not_in_tenant"') })
      for (const answer of answers) expect(answer).toEqual(answers[0] ?? answer)
    })

    test('an unverified colleague may be invited, and joins once verified', async () => {
      const { id } = await makeList(owner)
      const email = freshEmail('new')
      const body = { email, full_name: 'New', password: goodPassword }
      expect((await tenant.admin.api.post('/users', body)).status).toBe(201)
      expect((await inviting(owner, id, { email })).status).toBe(201)
    })
  })

  test('INVITATION_TTL_HOURS sets the lifetime', async () => {
    const own = await startServer(backend, { INVITATION_TTL_HOURS: '1' })
    try {
      const { admin, ...home } = await makeTenant(own)
      const colleague = await makeUser(own, { admin, ...home })
      const { id } = await makeList(admin)
      const { expires_at } = (await inviting(admin, id, { email: colleague.email })).body
      expect(Date.parse(expires_at) - Date.now()).toBeWithin(3_590_000, 3_602_000)
    } finally {
      await own.stop()
    }
  })
})
