/** Users of a tenant, as admins manage them and as they see each other: CONTRACT section 4. */
import { expect, test } from 'bun:test'
import { createClient } from '../../support/client.ts'
import {
  asPerson,
  freshEmail,
  goodPassword,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
  verify,
} from '../../support/people.ts'
import { describeBackends, describeFull, sharedServer } from '../../support/server.ts'

const account = (email = freshEmail('user')) => ({ email, full_name: 'Someone New', password: goodPassword })
const idsOf = (answer: { body: { data: { id: string }[] } }): string[] => answer.body.data.map(({ id }) => id)

describeBackends('a user', (backend) => {
  const setUp = async () => {
    const server = await sharedServer(backend)
    const tenant = await makeTenant(server, 'People')
    return { server, tenant, admin: tenant.admin, anyone: createClient(server.url) }
  }

  test('is created by an admin, gets a code by mail and can then sign in', async () => {
    const { server, tenant, admin } = await setUp()
    const body = { ...account(), full_name: '  Zoe\u0308 ' }
    const made = await admin.api.post('/users', body)
    expect(made.status).toBe(201)
    expect(made.body).toEqual({
      id: made.body.id,
      tenant_id: tenant.id,
      email: body.email,
      full_name: 'Zo\u00eb',
      role: 'member',
      is_active: true,
      email_verified: false,
      created_at: made.body.created_at,
      updated_at: made.body.created_at,
    })
    await verify(server, body.email)
    const person = await asPerson(server, body.email, body.password)
    expect((await person.api.get('/auth/me')).body).toMatchObject({ id: made.body.id, email_verified: true })
  })

  test('may be created as an admin, but not with a role of the platform or a list, nor in another tenant', async () => {
    const { tenant, admin } = await setUp()
    const made = await admin.api.post('/users', { ...account(), role: 'tenant_admin' })
    expect(made.body.role).toBe('tenant_admin')
    for (const role of ['super_admin', 'owner', 'editor', '', null, 1, ['member']]) {
      for (const refused of [
        await admin.api.post('/users', { ...account(), role }),
        await admin.api.patch(`/users/${made.body.id}`, { role }),
      ]) {
        expect(refused.status).toBe(422)
        expect(refused.body.errors[0].field).toBe('role')
      }
    }
    for (const field of ['tenant_id', 'id', 'is_active', 'email_verified', 'password_hash']) {
      const refused = await admin.api.post('/users', { ...account(), [field]: tenant.id })
      expect(refused.body.errors).toEqual([{ field, message: expect.any(String) }])
    }
    for (const field of ['email', 'password', 'tenant_id', 'email_verified', 'id']) {
      const refused = await admin.api.patch(`/users/${made.body.id}`, { [field]: 'x@y.example' })
      expect(refused.body.errors).toEqual([{ field, message: expect.any(String) }])
    }
  })

  test('needs an address that is unused in every tenant, in any case', async () => {
    const { server, tenant, admin } = await setUp()
    const other = await makeTenant(server, 'Other people')
    const here = await makeUser(server, tenant)
    for (const taken of [
      here.email,
      other.admin.email,
      other.admin.email.toUpperCase(),
      server.superAdmin.email,
    ]) {
      const refused = await admin.api.post('/users', account(taken))
      expect(refused.body).toMatchObject({ status: 409, code: 'email_taken' })
    }
    await admin.api.delete(`/users/${here.id}`)
    expect((await admin.api.post('/users', account(here.email))).body.code).toBe('email_taken')
  })

  test('needs a valid address, name and password', async () => {
    const { admin } = await setUp()
    const wrong: Record<string, unknown[]> = {
      email: [
        '',
        'a',
        '@b.example',
        'a@',
        'a b@c.example',
        'a@b..example',
        'a@b\n.example',
        `${'a'.repeat(250)}@b.c`,
        null,
        1,
      ],
      full_name: ['', ' ', 'a\nb', 'x'.repeat(256), null, 1],
      password: ['', 'short12', 'x'.repeat(129), 'password1', 'PASSWORD1', null, 12345678],
    }
    for (const [field, values] of Object.entries(wrong))
      for (const value of values) {
        const refused = await admin.api.post('/users', { ...account(), [field]: value })
        expect(refused.status, `${field} ${JSON.stringify(value)}`).toBe(422)
        expect(refused.body.errors[0].field).toBe(field)
      }
    const email = freshEmail('long-enough')
    const own = await admin.api.post('/users', { ...account(email), password: email.toUpperCase() })
    expect(own.body.errors[0].field).toBe('password')
    const missing = await admin.api.post('/users', {})
    const fields = missing.body.errors.map(({ field }: { field: string }) => field)
    expect(fields.sort()).toEqual(['email', 'full_name', 'password'])
  })

  test('sees only active colleagues, and only their id, name and address', async () => {
    const { server, tenant, admin } = await setUp()
    const member = await makeUser(server, tenant, { name: 'member' })
    const mate = await makeUser(server, tenant, { name: 'mate' })
    const gone = await makeUser(server, tenant, { name: 'gone' })
    await admin.api.delete(`/users/${gone.id}`)
    const seen = await member.api.get('/users')
    expect(idsOf(seen)).toEqual([mate.id, member.id, admin.id])
    expect(seen.body.data[0]).toEqual({ id: mate.id, full_name: 'mate', email: mate.email })
    for (const row of seen.body.data) expect(Object.keys(row).sort()).toEqual(['email', 'full_name', 'id'])
    expect(Object.keys((await member.api.get(`/users/${mate.id}`)).body).sort()).toEqual([
      'email',
      'full_name',
      'id',
    ])
    expect((await member.api.get(`/users/${gone.id}`)).status).toBe(404)
    expect(idsOf(await member.api.get('/users?is_active=false'))).toEqual([])
    expect(idsOf(await member.api.get('/users?search=gone'))).toEqual([])
    expect((await admin.api.get(`/users/${gone.id}`)).body).toMatchObject({
      is_active: false,
      role: 'member',
    })
    expect(idsOf(await admin.api.get('/users'))).toEqual([gone.id, mate.id, member.id, admin.id])
  })

  test('is found by name or address, status and role; every character of a search is literal', async () => {
    const { server, admin } = await setUp()
    const names = ['100% Ann', '100x Ann', 'Bo_b', 'Boxb', 'ÉMILE']
    const ids = new Map<string, string>()
    for (const name of names)
      ids.set(name, (await admin.api.post('/users', { ...account(), full_name: name })).body.id)
    const search = async (query: string): Promise<string[]> =>
      (await admin.api.get(`/users?${query}`)).body.data.map(
        ({ full_name }: { full_name: string }) => full_name,
      )
    const text = (value: string) => search(`search=${encodeURIComponent(value)}`)
    expect(await text('ann')).toEqual(['100x Ann', '100% Ann'])
    expect(await text('0% a')).toEqual(['100% Ann'])
    expect(await text('bo_b')).toEqual(['Bo_b'])
    expect(await text('\\')).toEqual([])
    expect(await text(' émile ')).toEqual(['ÉMILE'])
    expect(await text(admin.email.slice(0, 14).toUpperCase())).toEqual([admin.fullName])
    expect(await search('role=tenant_admin')).toEqual([admin.fullName])
    expect(await search('role=member&search=bo')).toEqual(['Boxb', 'Bo_b'])
    await admin.api.delete(`/users/${ids.get('Boxb')}`)
    expect(await search('is_active=false')).toEqual(['Boxb'])
    expect(await search('is_active=true&search=bo')).toEqual(['Bo_b'])
    for (const query of ['role=super_admin', 'is_active=1', 'search=%00', `search=${'x'.repeat(256)}`])
      expect((await admin.api.get(`/users?${query}`)).status, query).toBe(422)
    expect((await admin.api.get(`/users?search=${encodeURIComponent('🛒'.repeat(255))}`)).status).toBe(200)
    const stranger = await makeTenant(server)
    expect(idsOf(await stranger.admin.api.get('/users?search=ann'))).toEqual([])
  })

  for (const way of ['DELETE', 'PATCH'] as const)
    test(`deactivated by ${way} is signed out everywhere and stays so when reactivated`, async () => {
      const { server, tenant, admin, anyone } = await setUp()
      const member = await makeUser(server, tenant)
      const otherDevice = await asPerson(server, member.email, member.password)
      const ended =
        way === 'DELETE'
          ? await admin.api.delete(`/users/${member.id}`)
          : await admin.api.patch(`/users/${member.id}`, { is_active: false })
      expect(ended.status).toBe(way === 'DELETE' ? 204 : 200)
      const isSignedOut = async ({ api, refreshToken }: Person) => {
        expect((await api.get('/auth/me')).body).toMatchObject({ status: 401, code: 'token_revoked' })
        const refreshed = await anyone.post('/auth/refresh', { refresh_token: refreshToken })
        expect(refreshed.status).toBe(401)
      }
      await isSignedOut(member)
      const login = { email: member.email, password: member.password }
      expect((await anyone.post('/auth/login', login)).body.code).toBe('account_deactivated')
      const wrong = await anyone.post('/auth/login', { ...login, password: 'a wrong one' })
      expect(wrong.body.code).toBe('invalid_credentials')
      const back = await admin.api.patch(`/users/${member.id}`, { is_active: true })
      expect(back.body).toMatchObject({ id: member.id, is_active: true })
      for (const device of [member, otherDevice]) await isSignedOut(device)
      const again = await asPerson(server, member.email, member.password)
      expect((await again.api.get('/auth/me')).status).toBe(200)
    })

  test('with a changed role has its new rights immediately and keeps its session', async () => {
    const { server, tenant, admin, anyone } = await setUp()
    const member = await makeUser(server, tenant)
    const raised = await admin.api.patch(`/users/${member.id}`, { role: 'tenant_admin' })
    expect(raised.body.role).toBe('tenant_admin')
    expect((await member.api.get('/auth/me')).status).toBe(401)
    const refreshed = await anyone.post('/auth/refresh', { refresh_token: member.refreshToken })
    expect(refreshed.body.user.role).toBe('tenant_admin')
    const asAdmin = createClient(server.url, refreshed.body.access_token)
    expect((await asAdmin.post('/users', account())).status).toBe(201)
  })

  test('is unchanged by an empty PATCH; a new name signs nobody out', async () => {
    const { server, tenant, admin } = await setUp()
    const member = await makeUser(server, tenant)
    const before = (await admin.api.get(`/users/${member.id}`)).body
    for (const change of [{}, { role: 'member' }, { is_active: true }, { full_name: before.full_name }])
      expect((await admin.api.patch(`/users/${member.id}`, change)).body).toEqual(before)
    const renamed = await admin.api.patch(`/users/${member.id}`, { full_name: 'New name' })
    expect(renamed.body).toEqual({ ...before, full_name: 'New name', updated_at: renamed.body.updated_at })
    expect((await member.api.get('/auth/me')).body.full_name).toBe('New name')
  })

  test('of another tenant or of the platform is not found by an admin', async () => {
    const { server, admin } = await setUp()
    const other = await makeTenant(server)
    const root = await superAdmin(server)
    for (const { id } of [other.admin, root])
      for (const answer of [
        await admin.api.get(`/users/${id}`),
        await admin.api.patch(`/users/${id}`, { is_active: false }),
        await admin.api.delete(`/users/${id}`),
      ])
        expect(answer.body).toMatchObject({ status: 404, code: 'not_found' })
    expect((await root.api.get('/users')).body).toMatchObject({ status: 403, code: 'forbidden' })
    expect((await root.api.post('/users', account())).body).toMatchObject({ status: 403, code: 'forbidden' })
  })
})

describeFull('concurrent requests for users on PostgreSQL', () => {
  test('create one user a tenant when ten race for one address in two', async () => {
    const server = await sharedServer('full')
    const admins = [(await makeTenant(server)).admin, (await makeTenant(server)).admin]
    const email = freshEmail()
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => admins.map((admin) => admin.api.post('/users', account(email)))).flat(),
    )
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(2)
    expect(answers.filter(({ body }) => body.code === 'email_taken')).toHaveLength(8)
  })
})
