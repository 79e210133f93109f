/** GET /audit: what is recorded, who may read it, and that entries cannot be removed. */
import { expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { auditActions } from '../../../src/features/audit/entry.ts'
import { asBearer, login, makeUnverified, resetTokenFor } from '../../support/auth.ts'
import { freshEmail, goodPassword, makeTenant, makeUser, type Person } from '../../support/people.ts'
import { describeBackends, startServer } from '../../support/server.ts'
import { until } from '../../support/until.ts'
import { cases, testedElsewhere, worldOf } from './cases.ts'

interface Entry {
  id: string
  at: string
  action: string
  target_id: string | null
  [field: string]: unknown
}

const trail = async (reader: Person, query = ''): Promise<Entry[]> => {
  const answer = await reader.api.get(`/audit?limit=100${query}`)
  expect(answer.status).toBe(200)
  return answer.body.data
}

test('every recorded action has a case', () => {
  const shown = [...Object.keys(cases), ...testedElsewhere].sort()
  expect(shown).toEqual(Object.keys(auditActions).sort())
})

describeBackends('the audit trail', (backend) => {
  for (const [action, act] of Object.entries(cases))
    test(`records ${action} once, with actor, target, address and request id`, async () => {
      const world = await worldOf(backend)
      const { reader = world.admin, target, entry } = await act(world)
      const found = await until(async () => {
        const entries = await trail(reader, `&action=${action}&target_id=${target}`)
        return entries.length > 0 && entries
      }, `an entry of ${action}`)
      expect(found).toHaveLength(1)
      const request_id = expect.stringMatching(/^[0-9a-f-]{36}$/)
      expect(found[0]).toMatchObject({
        address: '127.0.0.1',
        request_id,
        ...entry,
        action,
        target_id: target,
      })
      expect(Math.abs(Date.parse(found[0]?.at ?? '') - Date.now())).toBeLessThan(60_000)
    })

  test('records the request id that the caller chose', async () => {
    const { admin } = await worldOf(backend)
    const requestId = `by-the-caller-${crypto.randomUUID()}`
    const headers = { 'x-request-id': requestId }
    const body = { email: freshEmail(), full_name: 'Ann', password: goodPassword }
    const { body: ann } = await admin.api.post('/users', body, { headers })
    expect(await trail(admin, `&target_id=${ann.id}`)).toMatchObject([{ request_id: requestId }])
  })

  test('records no refused or ineffective call, except refused sign-ins and addresses', async () => {
    const { server } = await worldOf(backend)
    const { admin } = await makeTenant(server, 'Quiet')
    const ann = await makeUser(server, { id: '', name: '', admin })
    const before = await trail(admin)
    expect((await admin.api.patch(`/users/${admin.id}`, { role: 'member' })).status).toBe(409)
    expect((await admin.api.patch(`/users/${ann.id}`, { role: 'member' })).status).toBe(200)
    expect((await ann.api.patch('/auth/me', { full_name: ann.fullName })).status).toBe(200)
    expect((await ann.api.patch(`/users/${admin.id}`, { role: 'member' })).status).toBe(403)
    expect(await trail(admin)).toEqual(before)
  })

  test('shows a tenant what the platform did to it, without the operator’s address', async () => {
    const { server, root } = await worldOf(backend)
    const { id, admin } = await makeTenant(server, 'Watched from above')
    await root.api.patch(`/tenants/${id}`, { name: 'Renamed from above' })
    const ours = await trail(admin, `&target_id=${id}`)
    expect(ours.map(({ action }) => action)).toEqual(['tenant.changed', 'tenant.created'])
    for (const entry of ours)
      expect(entry).toMatchObject({ actor_role: 'super_admin', actor_email: null, address: null })
    const theirs = await trail(root, `&target_id=${id}`)
    expect(theirs.map(({ action }) => action)).toEqual(['tenant.changed', 'tenant.created'])
    expect(theirs).toMatchObject([{ actor_email: root.email }, { actor_email: root.email }])
  })

  test('is per tenant: an admin sees no other tenant’s, a super admin only the platform’s', async () => {
    const { server, root, admin } = await worldOf(backend)
    const other = await makeTenant(server, 'Elsewhere')
    const stranger = await makeUser(server, other)
    await login(server, stranger.email, 'a wrong password')
    for (const reader of [admin, root])
      for (const query of [`&actor_id=${stranger.id}`, `&target_id=${stranger.id}`])
        expect(await trail(reader, query)).toEqual([])
    expect((await trail(other.admin, `&target_id=${stranger.id}`)).length).toBeGreaterThan(1)
  })

  test('contains no password, code or token', async () => {
    const { server, root } = await worldOf(backend)
    const tenant = await makeTenant(server, 'Discreet')
    const newcomer = await makeUnverified(server, tenant)
    await login(server, newcomer.email, 'a password that is wrong')
    const ann = await makeUser(server, tenant)
    const reset = await resetTokenFor(server, ann.email)
    const refused = { token: 'a made-up reset token', new_password: 'the password that was refused' }
    await asBearer(server, '').post('/auth/reset-password', refused)
    const entries = JSON.stringify([await trail(tenant.admin), await trail(root)])
    const secrets = [newcomer.code, reset, ann.accessToken, ann.refreshToken, goodPassword]
    for (const secret of [...secrets, 'a password that is wrong', ...Object.values(refused), '$argon2'])
      expect(entries).not.toContain(secret)
  })

  test('pages newest first, without duplicates or gaps while entries come in, with any filter', async () => {
    const { server } = await worldOf(backend)
    const { admin } = await makeTenant(server, 'Paged')
    const fail = () => login(server, admin.email, 'a wrong password')
    for (let i = 0; i < 7; i++) await fail()
    const all = await trail(admin, '&action=auth.sign_in_failed')
    const paged: Entry[] = []
    let cursor: string | null = null
    do {
      const query: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
      const { body } = await admin.api.get(`/audit?limit=2&action=auth.sign_in_failed${query}`)
      paged.push(...body.data)
      cursor = body.next_cursor
      await fail()
    } while (cursor !== null)
    expect(paged).toEqual(all)
    expect(all.map(({ at }) => at)).toEqual(
      all
        .map(({ at }) => at)
        .sort()
        .reverse(),
    )
    const [third, fifth] = [all[2], all[4]]
    expect(await trail(admin, `&action=auth.sign_in_failed&from=${fifth?.at}&to=${third?.at}`)).toEqual(
      all.filter(({ at }) => at >= (fifth?.at ?? '') && at < (third?.at ?? '')),
    )
  })

  test('refuses invalid filters by name', async () => {
    const { admin } = await worldOf(backend)
    const wrong = {
      action: 'user.born',
      actor_id: 'me',
      target_id: 'it',
      from: 'yesterday',
      to: '2026-11-22',
    }
    for (const [field, value] of Object.entries(wrong)) {
      const answer = await admin.api.get(`/audit?${field}=${value}`)
      expect(answer.status).toBe(422)
      expect(answer.body.errors).toMatchObject([{ field }])
    }
    expect((await admin.api.get('/audit?from=2026-02-30T00:00:00Z')).status).toBeOneOf([200, 422])
  })

  test('cannot be changed, deleted or written into another tenant, even by the service', async () => {
    const { server, tenant, admin } = await worldOf(backend)
    const { db } = server.running.deps
    const before = await trail(admin)
    const scopes = [{ tenantId: tenant.id }, 'system', 'streams', 'housekeeping'] as const
    for (const scope of scopes) {
      await expect(db.write(scope, sql`update audit_log set action = 'user.changed'`)).rejects.toThrow()
      await expect(db.write(scope, sql`delete from audit_log`)).rejects.toThrow()
      await expect(db.write(scope, sql`truncate audit_log`)).rejects.toThrow()
      await db.write(scope, sql`select delete_audit_entries(now() + interval '1 year', 1000000)`)
    }
    expect(await trail(admin)).toEqual(before)
  })
})

test('records the client’s address behind a proxy', async () => {
  const server = await startServer('embedded', { TRUST_PROXY: '1' })
  try {
    const { admin } = await makeTenant(server)
    const headers = { 'x-forwarded-for': '203.0.113.9' }
    await admin.api.post('/auth/login', { email: admin.email, password: 'a wrong password' }, { headers })
    expect(await trail(admin, '&action=auth.sign_in_failed')).toMatchObject([{ address: '203.0.113.9' }])
  } finally {
    await server.stop()
  }
})
