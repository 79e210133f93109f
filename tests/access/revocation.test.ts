/** Revocations reach every instance within a second and survive the loss of Redis's data. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createClient as createRedisClient } from 'redis'
import { asBearer, endsWithinASecond, isAlive, login, refresh } from '../support/auth.ts'
import {
  goodPassword,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
  type Tenant,
} from '../support/people.ts'
import {
  describeBackends,
  describeFull,
  sharedServer,
  startInstance,
  startServer,
  type TestServer,
} from '../support/server.ts'

const newPassword = 'another horse, another staple'

const changePassword = (person: Person, current = goodPassword, next = newPassword) =>
  person.api.post('/auth/change-password', { current_password: current, new_password: next })

describeBackends('a revocation', (backend) => {
  let server: TestServer
  let tenant: Tenant

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
  })

  const renewed = async ({ refreshToken }: Person) => (await refresh(server, refreshToken)).body

  test('changing the password twice with one access token leaves that token valid', async () => {
    const ann = await makeUser(server, tenant)
    const other = (await login(server, ann.email, goodPassword)).body
    expect((await changePassword(ann)).status).toBe(204)
    expect((await changePassword(ann, newPassword, goodPassword)).status).toBe(204)
    expect((await ann.api.get('/auth/me')).status).toBe(200)
    expect((await asBearer(server, other.access_token).get('/auth/me')).status).toBe(401)
  })

  test('by a changed role is not undone by a password change in the same session', async () => {
    const ann = await makeUser(server, tenant, { role: 'tenant_admin' })
    await tenant.admin.api.patch(`/users/${ann.id}`, { role: 'member' })
    const { access_token } = await renewed(ann)
    const changed = await asBearer(server, access_token).post('/auth/change-password', {
      current_password: goodPassword,
      new_password: newPassword,
    })
    expect(changed.status).toBe(204)
    expect((await asBearer(server, access_token).get('/auth/me')).status).toBe(200)
    expect((await ann.api.get('/users')).body.code).toBe('token_revoked')
  })

  test('by deactivation ends the session for good, even when the account is reactivated', async () => {
    const ann = await makeUser(server, tenant)
    await tenant.admin.api.delete(`/users/${ann.id}`)
    expect((await ann.api.get('/auth/me')).status).toBe(401)
    expect((await renewed(ann)).code).toBe('refresh_token_invalid')
    await tenant.admin.api.patch(`/users/${ann.id}`, { is_active: true })
    expect((await ann.api.get('/auth/me')).status).toBe(401)
    expect((await renewed(ann)).code).toBe('refresh_token_invalid')
    expect((await login(server, ann.email)).status).toBe(200)
  })

  test('by deactivation of the tenant ends all its sessions and no others', async () => {
    const other = await makeTenant(server)
    const ben = await makeUser(server, other)
    const ann = await makeUser(server, tenant)
    const root = await superAdmin(server)
    await root.api.delete(`/tenants/${other.id}`)
    for (const person of [other.admin, ben]) {
      expect((await person.api.get('/auth/me')).status).toBe(401)
      expect((await renewed(person)).code).toBe('refresh_token_invalid')
    }
    await root.api.patch(`/tenants/${other.id}`, { is_active: true })
    expect((await ben.api.get('/auth/me')).status).toBe(401)
    expect((await renewed(ben)).code).toBe('refresh_token_invalid')
    expect((await ann.api.get('/auth/me')).status).toBe(200)
  })

  test('of someone deactivated while signing in leaves no valid token', async () => {
    for (let round = 0; round < 5; round++) {
      const ann = await makeUser(server, tenant)
      const [answer] = await Promise.all([
        login(server, ann.email),
        tenant.admin.api.delete(`/users/${ann.id}`),
      ])
      if (answer.status !== 200) continue
      expect((await asBearer(server, answer.body.access_token).get('/auth/me')).status).toBe(401)
      expect((await refresh(server, answer.body.refresh_token)).status).toBe(401)
    }
  })
})

describeFull('a revocation with two instances', () => {
  let one: TestServer
  let other: TestServer
  let tenant: Tenant

  beforeAll(async () => {
    one = await sharedServer('full')
    other = await startInstance(one)
    tenant = await makeTenant(one)
  })
  afterAll(() => other.stop())

  test('by a password change exempts the session that made it, on the other instance too', async () => {
    const ann = await makeUser(one, tenant)
    const { body: phone } = await login(other, ann.email)
    await changePassword(ann)
    await endsWithinASecond(other, phone.access_token)
    expect(await isAlive(ann, other)).toBe(true)
    expect((await refresh(other, ann.refreshToken)).status).toBe(200)
  })

  test('is known to an instance that starts later', async () => {
    const ann = await makeUser(one, tenant)
    await ann.api.post('/auth/logout')
    const late = await startInstance(one)
    try {
      expect(await isAlive(ann, late)).toBe(false)
    } finally {
      await late.stop()
    }
  })
})

describeFull('data lost from Redis', () => {
  let server: TestServer
  let tenant: Tenant
  beforeAll(async () => {
    server = await startServer('full')
    tenant = await makeTenant(server)
  })
  afterAll(() => server.stop())

  describe('all of it', () => {
    test('signs people out but revives nothing that was revoked', async () => {
      const [ann, ben, cem] = [
        await makeUser(server, tenant),
        await makeUser(server, tenant),
        await makeUser(server, tenant),
      ]
      await ann.api.post('/auth/logout')
      await tenant.admin.api.delete(`/users/${ben.id}`)
      await withRedis(server, (redis) => redis.flushDb())
      for (const person of [ann, ben, cem])
        expect((await refresh(server, person.refreshToken)).body.code).toBe('refresh_token_invalid')
      for (const person of [ann, ben]) expect(await isAlive(person, server)).toBe(false)
      const fresh = await startInstance(server)
      for (const person of [ann, ben]) expect(await isAlive(person, fresh)).toBe(false)
      await fresh.stop()
      expect((await login(server, cem.email)).status).toBe(200)
    })
  })

  describe('the latest changes, as when an older copy is restored', () => {
    test('revives no session that has ended since', async () => {
      const [ann, ben, cem] = [
        await makeUser(server, tenant),
        await makeUser(server, tenant),
        await makeUser(server, tenant),
      ]
      const { body: benElsewhere } = await login(server, ben.email)
      await withRedis(server, async (redis) => {
        const keys = await redis.keys('*sessions:*')
        const copy = await Promise.all(keys.map(async (key) => [key, await redis.get(key)] as const))
        await ann.api.post('/auth/logout')
        await changePassword(ben)
        await tenant.admin.api.delete(`/users/${cem.id}`)
        await tenant.admin.api.patch(`/users/${cem.id}`, { is_active: true })
        for (const [key, value] of copy) await redis.set(key, value ?? '')
      })
      for (const token of [ann.refreshToken, benElsewhere.refresh_token, cem.refreshToken])
        expect((await refresh(server, token)).body.code).toBe('refresh_token_invalid')
    })
  })
})

describeFull('an invitation', () => {
  test('that was redeemed stays so when Redis loses its data', async () => {
    const server = await startServer('full')
    const tenant = await makeTenant(server)
    const guest = await makeUser(server, tenant)
    const list = await makeList(tenant.admin)
    const invited = await tenant.admin.api.post(`/shopping-lists/${list.id}/invite`, { email: guest.email })
    const accept = () => guest.api.post('/invitations/accept', { token: invited.body.token })
    expect((await accept()).status).toBe(200)
    await tenant.admin.api.delete(`/shopping-lists/${list.id}/members/${guest.id}`)
    await withRedis(server, (redis) => redis.flushDb())
    expect((await accept()).body.code).toBe('invitation_spent')
    await server.stop()
  })
})

async function withRedis(
  { environment }: TestServer,
  work: (redis: ReturnType<typeof connection>) => Promise<unknown>,
): Promise<void> {
  const redis = connection(environment['REDIS_URL'] ?? '')
  await redis.connect()
  try {
    await work(redis)
  } finally {
    redis.destroy()
  }
}

const connection = (url: string) => createRedisClient({ url })
