/** Whatever ends a session ends it on every instance within a second. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import {
  asBearer,
  beginSessions,
  claimsOf,
  endsWithinASecond,
  isAlive,
  login,
  refresh,
  resetTokenFor,
} from '../../support/auth.ts'
import { createClient } from '../../support/client.ts'
import {
  goodPassword,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
  type Tenant,
} from '../../support/people.ts'
import { describeBackends, sharedServer, startInstance, type TestServer } from '../../support/server.ts'

const newPassword = 'another horse, another staple'

describeBackends('within a second', (backend) => {
  let one: TestServer
  let other: TestServer
  let tenant: Tenant

  beforeAll(async () => {
    one = await sharedServer(backend)
    other = backend === 'full' ? await startInstance(one) : one
    tenant = await makeTenant(one)
  })
  afterAll(async () => {
    if (other !== one) await other.stop()
  })

  const newTenant = async (): Promise<Tenant> => makeTenant(one)
  const causes: [
    string,
    (ann: Person, of: Tenant) => Promise<{ status: number }>,
    (() => Promise<Tenant>)?,
  ][] = [
    ['logout', (ann) => ann.api.post('/auth/logout')],
    ['the end of the session', (ann) => ann.api.delete(`/auth/sessions/${claimsOf(ann.accessToken)['sid']}`)],
    [
      'the end of the session from another device',
      async (ann) => {
        const { body } = await login(one, ann.email)
        return asBearer(one, body.access_token).delete(`/auth/sessions/${claimsOf(ann.accessToken)['sid']}`)
      },
    ],
    [
      'a change of password on another device',
      async (ann) => {
        const { body } = await login(one, ann.email)
        return asBearer(one, body.access_token).post('/auth/change-password', {
          current_password: goodPassword,
          new_password: newPassword,
        })
      },
    ],
    [
      'a password reset',
      async (ann) =>
        createClient(one.url).post('/auth/reset-password', {
          token: await resetTokenFor(one, ann.email),
          new_password: newPassword,
        }),
    ],
    [
      'reuse of a refresh token',
      async (ann) => {
        const second = await refresh(one, ann.refreshToken)
        await refresh(one, second.body.refresh_token)
        return refresh(one, ann.refreshToken)
      },
    ],
    [
      'the 51st session',
      async (ann, at) => {
        await beginSessions(one, ann, at, 49)
        const { status } = await login(one, ann.email)
        return { status: status === 200 ? 204 : status }
      },
    ],
    ['deactivation', (ann) => tenant.admin.api.delete(`/users/${ann.id}`)],
    ['deactivation by PATCH', (ann) => tenant.admin.api.patch(`/users/${ann.id}`, { is_active: false })],
    [
      'deactivation of the tenant',
      async (_, of) => (await superAdmin(one)).api.delete(`/tenants/${of.id}`),
      newTenant,
    ],
    [
      'deactivation of the tenant by PATCH',
      async (_, of) => (await superAdmin(one)).api.patch(`/tenants/${of.id}`, { is_active: false }),
      newTenant,
    ],
  ]

  test.each(causes)('%s ends access and refresh tokens on every instance', async (what, cause, of) => {
    const at = (await of?.()) ?? tenant
    const [ann, bystander] = [await makeUser(one, at), await makeUser(one, tenant)]
    expect(await isAlive(ann, other)).toBe(true)
    const { status } = await cause(ann, at)
    expect(status).toBe(what.startsWith('reuse') ? 401 : what.endsWith('PATCH') ? 200 : 204)
    expect(await isAlive(ann, one)).toBe(false)
    await endsWithinASecond(other, ann.accessToken)
    for (const instance of [one, other])
      expect((await refresh(instance, ann.refreshToken)).body.code).toBe('refresh_token_invalid')
    expect(await isAlive(bystander, other)).toBe(true)
  })

  test.each(['tenant_admin', 'member'] as const)(
    'the new role %s ends access tokens, and a refresh issues one with it',
    async (role) => {
      const ann = await makeUser(one, tenant, { role: role === 'member' ? 'tenant_admin' : 'member' })
      expect(await isAlive(ann, other)).toBe(true)
      await tenant.admin.api.patch(`/users/${ann.id}`, { role })
      expect(await isAlive(ann, one)).toBe(false)
      await endsWithinASecond(other, ann.accessToken)
      const { body } = await refresh(other, ann.refreshToken)
      expect(claimsOf(body.access_token)).toMatchObject({ role, sid: claimsOf(ann.accessToken)['sid'] })
      const managing = await asBearer(other, body.access_token).post('/users', {})
      expect(managing.status).toBe(role === 'member' ? 403 : 422)
    },
  )
})
