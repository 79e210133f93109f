/** A tenant always keeps an active admin, even when admins demote or deactivate each other concurrently. */
import { expect, test } from 'bun:test'
import { createClient } from '../../support/client.ts'
import { makeTenant, makeUser, type Person } from '../../support/people.ts'
import {
  describeBackends,
  describeFull,
  sharedServer,
  startInstance,
  type TestServer,
} from '../../support/server.ts'

describeBackends('the last admin', (backend) => {
  test('of a tenant cannot step down', async () => {
    const server = await sharedServer(backend)
    const tenant = await makeTenant(server)
    const { admin } = tenant
    await makeUser(server, tenant)
    const refused = await admin.api.patch(`/users/${admin.id}`, { role: 'member', full_name: 'Changed' })
    expect(refused.body).toMatchObject({ status: 409, code: 'last_admin' })
    expect((await admin.api.get('/auth/me')).body).toMatchObject({
      role: 'tenant_admin',
      full_name: admin.fullName,
    })
    const second = await makeUser(server, tenant, { role: 'tenant_admin' })
    expect((await admin.api.patch(`/users/${admin.id}`, { role: 'member' })).body.role).toBe('member')
    expect((await second.api.patch(`/users/${second.id}`, { role: 'member' })).body.code).toBe('last_admin')
  })

  test('counts only active admins of the same tenant', async () => {
    const server = await sharedServer(backend)
    const tenant = await makeTenant(server)
    await makeTenant(server)
    const second = await makeUser(server, tenant, { role: 'tenant_admin' })
    expect((await tenant.admin.api.delete(`/users/${second.id}`)).status).toBe(204)
    const refused = await tenant.admin.api.patch(`/users/${tenant.admin.id}`, { role: 'member' })
    expect(refused.body).toMatchObject({ status: 409, code: 'last_admin' })
  })

  test('cannot deactivate themselves, like any other admin, by DELETE or PATCH, in any spelling of the id', async () => {
    const server = await sharedServer(backend)
    const tenant = await makeTenant(server)
    const { admin } = tenant
    await makeUser(server, tenant, { role: 'tenant_admin' })
    for (const id of [admin.id, admin.id.toUpperCase()])
      for (const answer of [
        await admin.api.delete(`/users/${id}`),
        await admin.api.patch(`/users/${id}`, { is_active: false }),
        await admin.api.patch(`/users/${id}`, { is_active: false, role: 'member', full_name: 'X' }),
      ])
        expect(answer.body).toMatchObject({ status: 409, code: 'cannot_deactivate_self' })
    expect((await admin.api.get('/auth/me')).body).toMatchObject({
      is_active: true,
      full_name: admin.fullName,
    })
  })
})

const rounds = 8

describeFull('concurrent admins on PostgreSQL', () => {
  type Act = (actor: Person, target: Person) => Promise<{ status: number; body: { code: string } | null }>
  const acts: Record<string, Act> = {
    'deactivate each other': (actor, target) => actor.api.delete(`/users/${target.id}`),
    'deactivate each other by PATCH': (actor, target) =>
      actor.api.patch(`/users/${target.id}`, { is_active: false }),
    'demote each other': (actor, target) => actor.api.patch(`/users/${target.id}`, { role: 'member' }),
    'step down themselves': (actor) => actor.api.patch(`/users/${actor.id}`, { role: 'member' }),
  }

  /** Each acts on the next; returns how many succeeded and how many can still sign in as admins. */
  const race = async (server: TestServer, admins: Person[], act: Act) => {
    const answers = await Promise.all(
      admins.map((actor, index) => act(actor, admins[(index + 1) % admins.length] ?? actor)),
    )
    // Whoever was deactivated before their own request was handled gets token_revoked.
    const outcomes = answers.map(({ status, body }) =>
      status < 300 ? 'done' : (body?.code ?? String(status)),
    )
    expect(outcomes.filter((code) => !['done', 'last_admin', 'token_revoked'].includes(code))).toEqual([])
    return { done: outcomes.filter((code) => code === 'done').length, left: await adminsLeft(server, admins) }
  }

  for (const [name, act] of Object.entries(acts))
    test(`two who ${name} at the same time: one succeeds, and one admin is left`, async () => {
      const server = await sharedServer('full')
      for (let round = 0; round < rounds; round++) {
        const tenant = await makeTenant(server)
        const admins = [tenant.admin, await makeUser(server, tenant, { role: 'tenant_admin' })]
        expect(await race(server, admins, act)).toEqual({ done: 1, left: 1 })
      }
    })

  test('three in a circle, on two instances, always leave one', async () => {
    const server = await sharedServer('full')
    const second = await startInstance(server)
    try {
      for (let round = 0; round < 3; round++) {
        const tenant = await makeTenant(server)
        const admins = [
          tenant.admin,
          onto(second, await makeUser(server, tenant, { role: 'tenant_admin' })),
          await makeUser(server, tenant, { role: 'tenant_admin' }),
        ]
        const { done, left } = await race(server, admins, (actor, target) =>
          actor.api.patch(`/users/${target.id}`, { role: 'member' }),
        )
        expect(left).toBeGreaterThanOrEqual(1)
        expect(done + left).toBe(3)
      }
    } finally {
      await second.stop()
    }
  })
})

async function adminsLeft(server: TestServer, people: Person[]): Promise<number> {
  const anyone = createClient(server.url)
  const answers = await Promise.all(
    people.map(({ email, password }) => anyone.post('/auth/login', { email, password })),
  )
  return answers.filter(({ status, body }) => status === 200 && body.user.role === 'tenant_admin').length
}

const onto = (server: TestServer, person: Person): Person => ({
  ...person,
  api: createClient(server.url, person.accessToken),
})
