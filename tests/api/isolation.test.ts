/**
 * Two tenants with the same data. Whatever one of them is asked for by the other answers as if it existed nowhere,
 * byte for byte, and changes nothing of it.
 */
import { beforeAll, expect, test } from 'bun:test'
import { type SQL, sql } from 'drizzle-orm'
import { createDocumentedApp } from '../../src/app.ts'
import { openapiDocument } from '../../src/http/openapi.ts'
import { isRecord } from '../support/json-schema.ts'
import {
  addItem,
  join,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
  type Tenant,
} from '../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../support/server.ts'

interface World {
  tenant: Tenant
  member: Person
  list: string
  deletedList: string
  item: string
  session: string
}

interface Case {
  method: string
  /** As the API's document has it. */
  path: string
  body?: object
}

/** Every route that takes an id, with a body that would do something. */
const cases: Case[] = [
  { method: 'GET', path: '/shopping-lists/{id}' },
  { method: 'PATCH', path: '/shopping-lists/{id}', body: { name: 'Taken' } },
  { method: 'DELETE', path: '/shopping-lists/{id}' },
  { method: 'POST', path: '/shopping-lists/{id}/restore' },
  { method: 'GET', path: '/shopping-lists/{id}/members' },
  { method: 'PATCH', path: '/shopping-lists/{id}/members/{user_id}', body: { role: 'owner' } },
  { method: 'DELETE', path: '/shopping-lists/{id}/members/{user_id}' },
  { method: 'POST', path: '/shopping-lists/{id}/invite', body: { email: 'someone@elsewhere.example' } },
  { method: 'GET', path: '/shopping-lists/{id}/events' },
  { method: 'POST', path: '/shopping-lists/{id}/items', body: { name: 'Smuggled' } },
  { method: 'GET', path: '/shopping-lists/{id}/items' },
  { method: 'POST', path: '/shopping-lists/{id}/items/clear-purchased' },
  { method: 'PATCH', path: '/items/{id}', body: { name: 'Taken' } },
  { method: 'DELETE', path: '/items/{id}' },
  { method: 'GET', path: '/users/{id}' },
  { method: 'PATCH', path: '/users/{id}', body: { full_name: 'Taken' } },
  { method: 'DELETE', path: '/users/{id}' },
  { method: 'GET', path: '/tenants/{id}' },
  { method: 'PATCH', path: '/tenants/{id}', body: { name: 'Taken' } },
  { method: 'DELETE', path: '/tenants/{id}' },
  { method: 'DELETE', path: '/auth/sessions/{id}' },
]

describeBackends('isolation of tenants', (backend) => {
  let server: TestServer
  let mine: World
  let theirs: World

  const makeWorld = async (): Promise<World> => {
    const tenant = await makeTenant(server, 'Mirror')
    const member = await makeUser(server, tenant, { name: 'twin' })
    const { id: list } = await makeList(member, 'Same')
    await join(member, list, tenant.admin)
    const { id: item } = await addItem(member, list, { name: 'Same' })
    const bought = await addItem(member, list, { name: 'Bought' })
    await member.api.patch(`/items/${bought.id}`, { status: 'purchased' })
    const { id: deletedList } = await makeList(member, 'Gone')
    await member.api.delete(`/shopping-lists/${deletedList}`)
    const sessions = (await member.api.get('/auth/sessions')).body
    return { tenant, member, list, deletedList, item, session: (sessions.data ?? sessions)[0].id }
  }

  beforeAll(async () => {
    server = await sharedServer(backend)
    ;[mine, theirs] = [await makeWorld(), await makeWorld()]
  })

  /** Of everything a tenant has. */
  const checksum = async ({ tenant }: World): Promise<unknown[]> => {
    const rows = (table: SQL, column: SQL) => sql<{ sum: string; rows: number }>`
      select md5(string_agg(t::text, '|' order by t::text)) as sum, count(*)::int as rows
      from ${table} t where ${column} = ${tenant.id}`
    const tables = ['users', 'shopping_lists', 'list_members', 'items', 'list_events', 'revocations']
    const statements = [
      rows(sql`tenants`, sql`id`),
      ...tables.map((table) => rows(sql.raw(table), sql`tenant_id`)),
    ]
    const scope = { tenantId: tenant.id }
    return Promise.all(
      statements.map(async (statement) => (await server.running.deps.db.read(scope, statement))[0]),
    )
  }

  const call = async (person: Person, { method, body }: Case, path: string) => {
    const response = await fetch(`${server.url}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${person.accessToken}`, 'content-type': 'application/json' },
      ...(body ? { body: JSON.stringify(body) } : {}),
    })
    const headers = [...response.headers].filter(([name]) => !['date', 'x-request-id'].includes(name)).sort()
    const text = (await response.text()).replace(/"request_id":"[^"]+"/, '"request_id":""')
    return { status: response.status, headers, text }
  }

  const firstId: Record<string, (world: World) => string> = {
    '/shopping-lists': (world) => world.list,
    '/items': (world) => world.item,
    '/users': (world) => world.member.id,
    '/tenants': (world) => world.tenant.id,
    '/auth': (world) => world.session,
  }
  const idFor = (world: World, path: string): string =>
    path.endsWith('/restore') ? world.deletedList : (firstId[/^\/[^/]+/.exec(path)?.[0] ?? '']?.(world) ?? '')

  /** Where a role may not do a thing at all, that is told before anything is looked up. */
  const expectedStatus = (person: Person, { method, path }: Case): number =>
    path.startsWith('/tenants') || (path.startsWith('/users') && method !== 'GET' && person === mine.member)
      ? 403
      : 404

  test('every route that takes an id has its case here', async () => {
    const document = await openapiDocument(createDocumentedApp())
    const paths = Reflect.get(document, 'paths')
    if (!isRecord(paths)) throw new Error('no paths')
    const documented = Object.entries(paths)
      .filter(([path]) => path.includes('{'))
      .flatMap(([path, item]) =>
        Object.keys(isRecord(item) ? item : {}).map(
          (method) => `${method.toUpperCase()} ${path.replace('/api/v1', '')}`,
        ),
      )
    expect(cases.map(({ method, path }) => `${method} ${path}`).sort()).toEqual(documented.sort())
  })

  test('an id of another tenant answers like one that exists nowhere, and nothing there changes', async () => {
    const before = await checksum(theirs)
    for (const row of before.slice(0, 6)) expect(row).toMatchObject({ sum: expect.any(String) })
    for (const person of [mine.member, mine.tenant.admin])
      for (const each of cases) {
        const path = (id: string, userId: string) =>
          each.path.replace('{id}', id).replace('{user_id}', userId)
        const foreign = await call(person, each, path(idFor(theirs, each.path), theirs.member.id))
        const nowhere = await call(person, each, path(Bun.randomUUIDv7(), Bun.randomUUIDv7()))
        expect([each, foreign]).toEqual([each, nowhere])
        expect([each, foreign.status]).toEqual([each, expectedStatus(person, each)])
      }
    expect(await checksum(theirs)).toEqual(before)
  })

  test("another tenant's user is nobody on one's own list", async () => {
    const before = [await checksum(theirs), await checksum(mine)]
    for (const method of ['PATCH', 'DELETE']) {
      const each = { method, path: '', ...(method === 'PATCH' ? { body: { role: 'viewer' } } : {}) }
      const place = `/shopping-lists/${mine.list}/members`
      const foreign = await call(mine.member, each, `${place}/${theirs.member.id}`)
      expect(foreign).toEqual(await call(mine.member, each, `${place}/${Bun.randomUUIDv7()}`))
      expect(foreign.status).toBe(404)
    }
    expect([await checksum(theirs), await checksum(mine)]).toEqual(before)
  })

  test('no page shows anything of another tenant', async () => {
    const { id, email } = theirs.member
    const foreign = [
      theirs.list,
      theirs.deletedList,
      theirs.item,
      theirs.tenant.id,
      theirs.tenant.admin.id,
      id,
      email,
    ]
    for (const path of [
      ...['/shopping-lists', '/shopping-lists?scope=all', '/shopping-lists?deleted=true&scope=all'],
      ...['/users', '/users?search=twin', `/users?search=${encodeURIComponent(email)}`, '/auth/sessions'],
    ]) {
      const answer = await mine.tenant.admin.api.get(path)
      expect(answer.status).toBe(200)
      for (const value of foreign) expect(answer.text).not.toContain(value)
    }
  })

  test("ids of another tenant are free, and what is made with them is one's own", async () => {
    const before = await checksum(theirs)
    const made = await mine.member.api.post('/shopping-lists', { id: theirs.list, name: 'Own' })
    expect([made.status, made.body.owner_id, made.body.seq]).toEqual([201, mine.member.id, 0])
    const items = [{ id: theirs.item, name: 'Own' }]
    const added = await mine.member.api.post(`/shopping-lists/${theirs.list}/items`, { items })
    expect([added.status, added.body.data[0].added_by]).toEqual([201, mine.member.id])
    await mine.member.api.patch(`/items/${theirs.item}`, { name: 'Still own' })
    await mine.member.api.delete(`/items/${theirs.item}`)
    await mine.member.api.delete(`/shopping-lists/${theirs.list}`)
    expect(await checksum(theirs)).toEqual(before)
    expect((await theirs.member.api.get(`/shopping-lists/${theirs.list}`)).body.items[0].name).toBe('Same')
  })

  test('a super admin sees no list and no item, and is told the same whether they exist', async () => {
    const root = await superAdmin(server)
    for (const each of cases.filter(({ path }) => /^\/(shopping-lists|items)/.test(path))) {
      const path = (id: string, userId: string) => each.path.replace('{id}', id).replace('{user_id}', userId)
      const real = await call(root, each, path(idFor(mine, each.path), mine.member.id))
      expect([each, real.status, JSON.parse(real.text).code]).toEqual([each, 403, 'forbidden'])
      expect(real).toEqual(await call(root, each, path(Bun.randomUUIDv7(), Bun.randomUUIDv7())))
    }
    for (const path of ['/shopping-lists', '/shopping-lists?scope=all'])
      expect((await root.api.get(path)).status).toBe(403)
    expect((await root.api.post('/shopping-lists', { name: 'x' })).status).toBe(403)
    expect((await root.api.post('/invitations/accept', { token: 'x' })).status).toBe(403)
  })
})
