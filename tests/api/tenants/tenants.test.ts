/** Tenants, as the super admin creates, reads, changes and deactivates them: CONTRACT section 4. */
import { expect, test } from 'bun:test'
import { platformTenantId } from '../../../src/db/schema.ts'
import { createClient } from '../../support/client.ts'
import {
  asPerson,
  freshEmail,
  goodPassword,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
  verify,
} from '../../support/people.ts'
import { describeBackends, sharedServer } from '../../support/server.ts'

const account = (email = freshEmail('admin')) => ({ email, full_name: 'An Admin', password: goodPassword })

describeBackends('a tenant', (backend) => {
  const setUp = async () => {
    const server = await sharedServer(backend)
    return { server, root: await superAdmin(server), anyone: createClient(server.url) }
  }

  test('is created with its admin, who gets a code by mail and can then sign in', async () => {
    const { server, root } = await setUp()
    const admin = account()
    const slug = `made-${crypto.randomUUID()}`
    const { status, body } = await root.api.post('/tenants', { name: 'Made', slug, admin })
    expect(status).toBe(201)
    expect(Object.keys(body).sort()).toEqual(
      ['admin', 'created_at', 'id', 'is_active', 'name', 'slug', 'updated_at'].sort(),
    )
    expect(body).toMatchObject({ name: 'Made', slug, is_active: true })
    expect(body.admin).toMatchObject({
      tenant_id: body.id,
      email: admin.email,
      full_name: 'An Admin',
      role: 'tenant_admin',
      is_active: true,
      email_verified: false,
    })
    expect(JSON.stringify(body)).not.toMatch(/hash|argon|epoch|passphrase/)
    await verify(server, admin.email)
    const person = await asPerson(server, admin.email, admin.password)
    expect((await person.api.get('/auth/me')).body).toMatchObject({ id: body.admin.id, role: 'tenant_admin' })
  })

  test("is not created when its admin's address is taken, in any case", async () => {
    const { server, root } = await setUp()
    const { admin } = await makeTenant(server)
    const name = `Never ${crypto.randomUUID()}`
    for (const email of [admin.email, admin.email.toUpperCase(), server.superAdmin.email]) {
      const refused = await root.api.post('/tenants', { name, admin: account(email) })
      expect(refused.body).toMatchObject({ status: 409, code: 'email_taken' })
    }
    for (const change of [{ password: 'short' }, { password: 'password1' }, { email: 'none' }]) {
      const refused = await root.api.post('/tenants', { name, admin: { ...account(), ...change } })
      expect(refused.status).toBe(422)
      expect(refused.body.errors[0].field).toBe(`admin.${Object.keys(change)[0]}`)
    }
    const found = await root.api.get(`/tenants?search=${encodeURIComponent(name)}`)
    expect(found.body).toEqual({ data: [], next_cursor: null })
  })

  test("refused for its slug leaves its admin's address free", async () => {
    const { root } = await setUp()
    const admin = account()
    const slug = `taken-${crypto.randomUUID()}`
    await root.api.post('/tenants', { name: 'First', slug, admin: account() })
    const refused = await root.api.post('/tenants', { name: 'Second', slug, admin })
    expect(refused.body).toMatchObject({ status: 409, code: 'slug_taken' })
    expect((await root.api.post('/tenants', { name: 'Second', admin })).status).toBe(201)
  })

  test('counts its active users and undeleted lists', async () => {
    const { server, root } = await setUp()
    const tenant = await makeTenant(server, 'Counted')
    const countsOf = async () => {
      const { user_count, list_count } = (await root.api.get(`/tenants/${tenant.id}`)).body
      return { user_count, list_count }
    }
    expect(await countsOf()).toEqual({ user_count: 1, list_count: 0 })
    const gone = await makeUser(server, tenant)
    await makeUser(server, tenant)
    const list = await makeList(gone)
    await makeList(tenant.admin)
    expect(await countsOf()).toEqual({ user_count: 3, list_count: 2 })
    await gone.api.delete(`/shopping-lists/${list.id}`)
    await tenant.admin.api.delete(`/users/${gone.id}`)
    expect(await countsOf()).toEqual({ user_count: 2, list_count: 1 })
  })

  test('is changed field by field; a change without effect leaves updated_at alone', async () => {
    const { server, root } = await setUp()
    const { id } = await makeTenant(server, 'Before')
    const before = (await root.api.get(`/tenants/${id}`)).body
    const { user_count, list_count, ...plain } = before
    expect({ user_count, list_count }).toEqual({ user_count: 1, list_count: 0 })
    for (const change of [{}, { name: 'Before' }, { is_active: true }, { slug: before.slug }])
      expect((await root.api.patch(`/tenants/${id}`, change)).body).toEqual(plain)
    const slug = `after-${crypto.randomUUID()}`
    const renamed = await root.api.patch(`/tenants/${id}`, { name: ' After ', slug })
    expect(renamed.body).toEqual({ ...plain, name: 'After', slug, updated_at: renamed.body.updated_at })
    expect(renamed.body.updated_at > before.updated_at).toBe(true)
    const other = await makeTenant(server)
    const refused = await root.api.patch(`/tenants/${other.id}`, { slug })
    expect(refused.body).toMatchObject({ status: 409, code: 'slug_taken' })
    for (const wrong of [
      { name: null },
      { slug: null },
      { slug: 'A b' },
      { is_active: 'no' },
      { is_active: null },
    ])
      expect((await root.api.patch(`/tenants/${id}`, wrong)).status).toBe(422)
  })

  for (const way of ['DELETE', 'PATCH'] as const)
    test(`deactivated by ${way} ends every session; after reactivation its users must sign in again`, async () => {
      const { server, root, anyone } = await setUp()
      const tenant = await makeTenant(server, 'Ending')
      const member = await makeUser(server, tenant)
      const otherDevice = await asPerson(server, member.email, member.password)
      const { id: listId } = await makeList(member, 'Kept')
      const ended =
        way === 'DELETE'
          ? await root.api.delete(`/tenants/${tenant.id}`)
          : await root.api.patch(`/tenants/${tenant.id}`, { is_active: false })
      expect(ended.status).toBe(way === 'DELETE' ? 204 : 200)
      expect((await root.api.get(`/tenants/${tenant.id}`)).body.is_active).toBe(false)

      const credentials = ({ email, password }: typeof member) => ({ email, password })
      const areSignedOut = async (people: Person[]) => {
        for (const { api, refreshToken } of people) {
          expect((await api.get('/auth/me')).body).toMatchObject({ status: 401, code: 'token_revoked' })
          const refreshed = await anyone.post('/auth/refresh', { refresh_token: refreshToken })
          expect(refreshed.status).toBe(401)
        }
      }
      await areSignedOut([tenant.admin, member])
      const refused = await anyone.post('/auth/login', credentials(member))
      expect(refused.body).toMatchObject({ status: 403, code: 'tenant_deactivated' })
      const wrong = await anyone.post('/auth/login', { email: member.email, password: 'a wrong one' })
      expect(wrong.body).toMatchObject({ status: 401, code: 'invalid_credentials' })

      const back = await root.api.patch(`/tenants/${tenant.id}`, { is_active: true })
      expect(back.body).toMatchObject({ id: tenant.id, is_active: true })
      await areSignedOut([tenant.admin, member, otherDevice])
      const again = await asPerson(server, member.email, member.password)
      expect((await again.api.get(`/shopping-lists/${listId}`)).body.name).toBe('Kept')
    })

  test('may be deactivated twice', async () => {
    const { server, root } = await setUp()
    const { id } = await makeTenant(server)
    expect((await root.api.delete(`/tenants/${id}`)).status).toBe(204)
    expect((await root.api.delete(`/tenants/${id}`)).status).toBe(204)
  })

  test('is found by part of its name or slug, in any case, every character literal', async () => {
    const { root } = await setUp()
    const mark = crypto.randomUUID().slice(0, 8)
    const names = [
      `50% ${mark}`,
      `50x ${mark}`,
      `a_b ${mark}`,
      `axb ${mark}`,
      `back\\slash ${mark}`,
      `CAFÉ ${mark}`,
    ]
    for (const name of names) await root.api.post('/tenants', { name, admin: account() })
    const search = async (text: string, more = ''): Promise<string[]> => {
      const { body } = await root.api.get(`/tenants?search=${encodeURIComponent(text)}${more}`)
      return body.data.map(({ name }: { name: string }) => name)
    }
    expect(await search(mark)).toEqual(names.toReversed())
    expect(await search(`0% ${mark}`)).toEqual([`50% ${mark}`])
    expect(await search(`a_b ${mark}`)).toEqual([`a_b ${mark}`])
    expect(await search(`k\\slash ${mark}`)).toEqual([`back\\slash ${mark}`])
    expect(await search(`  cafe\u0301 ${mark.toUpperCase()} `)).toEqual([`CAFÉ ${mark}`])
    expect(await search(`50x-${mark}`)).toEqual([`50x ${mark}`])
    expect(await search(`%${mark}`)).toEqual([])
    expect(await search(`${mark}'; drop table tenants; --`)).toEqual([])

    const [first] = (await root.api.get(`/tenants?search=${mark}`)).body.data
    await root.api.delete(`/tenants/${first.id}`)
    expect(await search(mark, '&is_active=false')).toEqual([first.name])
    expect(await search(mark, '&is_active=true')).toHaveLength(names.length - 1)
    expect((await root.api.get('/tenants?is_active=maybe')).status).toBe(422)
  })

  test("is never the platform's own, which nobody can find", async () => {
    const { server, root } = await setUp()
    const path = `/tenants/${platformTenantId}`
    for (const answer of [
      await root.api.get(path),
      await root.api.patch(path, { is_active: false }),
      await root.api.patch(path, { name: 'Mine' }),
      await root.api.delete(path),
    ])
      expect(answer.body).toMatchObject({ status: 404, code: 'not_found' })
    const found = await root.api.get('/tenants?search=minimart-platform')
    expect(found.body.data.map(({ id }: { id: string }) => id)).not.toContain(platformTenantId)
    expect((await superAdmin(server)).id).toBe(root.id)
    expect((await root.api.get('/auth/me')).body).toMatchObject({ tenant_id: null, role: 'super_admin' })
  })
})
