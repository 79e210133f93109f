/** Calls every protected route with a token whose claims no longer hold or whose owner has no account. */
import { expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { asBearer, claimsOf, forge, login, makeUnverified, onceArrived } from '../../support/auth.ts'
import { createClient } from '../../support/client.ts'
import {
  addItem,
  goodPassword,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
  type Tenant,
} from '../../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../../support/server.ts'
import { codeIn } from '../../support/smtp.ts'
import { type Target, table } from '../permissions/table.ts'
import {
  bearer,
  guarded,
  makeTarget,
  type Outcome,
  sendRaw,
  unknownId,
  worldOf,
} from '../permissions/world.ts'

const signed = (server: TestServer, claims: Record<string, unknown>): string =>
  forge(
    { ...claims, jti: Bun.randomUUIDv7(), sid: Bun.randomUUIDv7() },
    server.environment['JWT_SECRET_KEY'] ?? '',
    { alg: 'HS256', typ: 'JWT' },
  )

interface Things {
  listId: string
  itemId: string
  userId: string
  tenantId: string
}

/** Calls the routes with the token, on these things and with valid bodies. */
async function callAll(
  server: TestServer,
  token: string,
  { listId, itemId, userId, tenantId }: Things,
  target: Target,
  routes = guarded,
): Promise<[route: string, Outcome][]> {
  const outcomes: [string, Outcome][] = []
  for (const route of routes) {
    const [, of = 'shopping-lists'] = /\/(items|users|tenants)\/:id/.exec(route) ?? []
    const id = { items: itemId, users: userId, tenants: tenantId }[of] ?? listId
    const body = JSON.stringify(table.find((rule) => rule.route === route)?.body?.(target, 'owner') ?? {})
    outcomes.push([
      route,
      await sendRaw(server, route, { headers: bearer(token), params: { id, user_id: userId }, body }),
    ])
  }
  return outcomes
}

/** Someone with a list of their own and a token that must no longer work. */
interface Former extends Things {
  token: string
}

async function makeFormers(server: TestServer): Promise<Record<string, Former>> {
  const [tenant, doomed, root] = await Promise.all([
    makeTenant(server),
    makeTenant(server),
    superAdmin(server),
  ])
  const former = async (
    of: Tenant,
    end: (person: Person) => Promise<{ status: number }>,
    role = 'member',
  ) => {
    const person = await makeUser(server, of, { role: role === 'member' ? 'member' : 'tenant_admin' })
    const { id: listId } = await makeList(person)
    const { id: itemId } = await addItem(person, listId)
    expect((await end(person)).status).toBeOneOf([200, 204])
    return { token: person.accessToken, listId, itemId, userId: person.id, tenantId: of.id }
  }
  const change = (body: object) => (person: Person) => tenant.admin.api.patch(`/users/${person.id}`, body)
  const gone = await former(tenant, (person) => tenant.admin.api.delete(`/users/${person.id}`))
  return {
    deactivated: gone,
    'deactivated, with a token made for a session of its own under the right key': {
      ...gone,
      token: signed(server, claimsOf(gone.token)),
    },
    'an admin no longer': await former(tenant, change({ role: 'member' }), 'tenant_admin'),
    'made an admin since': await former(tenant, change({ role: 'tenant_admin' })),
    'signed out': await former(tenant, (person) => person.api.post('/auth/logout')),
    'of a deactivated tenant': await former(doomed, () => root.api.delete(`/tenants/${doomed.id}`)),
  }
}

describeBackends('a token that is no longer valid', (backend) => {
  const stateOf = async (server: TestServer, { listId, userId, tenantId }: Things): Promise<unknown> =>
    server.running.deps.db.read(
      { tenantId },
      sql`select l::text as list, u::text as person, (select count(*) from list_members m where m.list_id = l.id) as members
        from shopping_lists l, users u where l.id = ${listId} and u.id = ${userId}`,
    )

  test('deactivated, signed out, of a deactivated tenant or with a changed role: 401 everywhere, nothing changed', async () => {
    const server = await sharedServer(backend)
    const target = await makeTarget(await worldOf(backend))
    for (const [who, former] of Object.entries(await makeFormers(server))) {
      const before = await stateOf(server, former)
      const outcomes = await callAll(server, former.token, former, target)
      const wrong = outcomes.filter(([, { status, code }]) => status !== 401 || code !== 'token_revoked')
      expect([who, wrong]).toEqual([who, []])
      expect(before).toHaveLength(1)
      expect(await stateOf(server, former)).toEqual(before)
    }
  })

  test('not yet verified: neither signing in, nor the code, nor anything else yields a token', async () => {
    const server = await sharedServer(backend)
    const { tenant } = await worldOf(backend)
    const { email, code } = await makeUnverified(server, tenant)
    const refused = await onceArrived(server, () => login(server, email))
    expect([refused.status, refused.body.code]).toEqual([403, 'email_not_verified'])
    expect(Object.keys(refused.body)).not.toContain('access_token')
    // The refused sign-in mailed a new code, which invalidated the first.
    const newer = codeIn(await server.inbox.waitFor(email))
    const open = createClient(server.url)
    expect((await open.post('/auth/verify-email', { email, otp: code })).body.code).toBe('otp_invalid')
    const verified = await open.post('/auth/verify-email', { email, otp: newer })
    expect(verified.body).toEqual({ email_verified: true })
    expect((await login(server, email)).status).toBe(200)
  })

  // Whoever holds the signing key can sign anything, but still cannot break the service or read lists.
  test('of an unknown user, correctly signed: no list is shown and nothing breaks', async () => {
    const server = await sharedServer(backend)
    const world = await worldOf(backend)
    const { owner, other_admin } = world.people
    const target = await makeTarget(world)
    const newcomer = await makeUnverified(server, world.tenant)
    const subjects: Record<string, object> = {
      'nobody at all': { sub: unknownId },
      'someone unverified': { sub: newcomer.id },
      "another tenant's admin": { sub: other_admin.id },
      'a member of no tenant': { tid: unknownId },
      'an admin of no tenant': { sub: unknownId, tid: unknownId, role: 'tenant_admin' },
    }
    const routes = guarded.filter((route) => !route.endsWith('/logout'))
    for (const [who, claims] of Object.entries(subjects)) {
      const token = signed(server, { ...claimsOf(owner.accessToken), ...claims })
      const things = { ...target, userId: target.viewer.id }
      const outcomes = await callAll(server, token, things, target, routes)
      const wrong = outcomes.filter(
        ([route, { status }]) =>
          status >= 500 || (/(shopping-lists|items)\/:id/.test(route) && status !== 404),
      )
      expect([who, wrong]).toEqual([who, []])
    }
  })

  test('whose account is gone, as after restoring a backup, asks for a new sign-in, whatever is written', async () => {
    const server = await sharedServer(backend)
    const world = await worldOf(backend)
    const { listId } = await makeTarget(world)
    const as = (claims: object) =>
      asBearer(server, signed(server, { ...claimsOf(world.people.owner.accessToken), ...claims }))
    const ghost = as({ sub: Bun.randomUUIDv7() })
    const ghostAdmin = as({ sub: Bun.randomUUIDv7(), role: 'tenant_admin' })
    const astray = as({ tid: Bun.randomUUIDv7(), role: 'tenant_admin' })
    const account = { email: 'ghost@shop.example', full_name: 'Ghost', password: goodPassword }
    for (const { status, body } of [
      await ghost.get('/auth/me'),
      await ghost.post('/shopping-lists', { name: 'Mine' }),
      await ghostAdmin.post(`/shopping-lists/${listId}/items`, { name: 'Milk' }),
      await astray.post('/shopping-lists', { name: 'Mine' }),
      await astray.post('/users', account),
      await astray.post('/auth/logout'),
    ])
      expect([status, body.code]).toEqual([401, 'token_revoked'])
  })
})
