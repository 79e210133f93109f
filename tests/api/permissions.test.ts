/** Every route the application has, called by everyone: CONTRACT section 2, held against the route table itself. */
import { expect, test } from 'bun:test'
import { createDocumentedApp } from '../../src/app.ts'
import type { Answer } from '../support/client.ts'
import {
  asPerson,
  freshEmail,
  join,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
  type Tenant,
} from '../support/people.ts'
import { type Backend, describeBackends, oncePerBackend, sharedServer } from '../support/server.ts'
import { everyone, isPublic, type Rule, type Target, table, type Who } from './permissions-table.ts'

const routes = [
  ...new Set(
    createDocumentedApp()
      .routes.filter(({ method }) => method !== 'OPTIONS')
      .map(({ method, path }) => `${method} ${path.replace(/(?<=.)\/$/, '')}`),
  ),
].sort()
const guarded = routes.filter((route) => !isPublic(route))
const unknownId = '01890000-0000-7000-8000-000000000000'

test('every route is public on purpose or has its row in the table, and the table has no row too many', () => {
  expect(guarded).toEqual(Object.keys(table).sort())
})

interface World {
  tenant: Tenant
  people: Record<Who, Person>
}

const worldOf = oncePerBackend(makeWorld)

async function makeWorld(backend: Backend): Promise<World> {
  const server = await sharedServer(backend)
  const tenant = await makeTenant(server, 'Permissions')
  const other = await makeTenant(server, 'Elsewhere')
  const member = (name: string, of = tenant) => makeUser(server, of, { name })
  const people = {
    super_admin: await superAdmin(server),
    tenant_admin: tenant.admin,
    owner: await member('owner'),
    editor: await member('editor'),
    viewer: await member('viewer'),
    outsider: await member('outsider'),
    stranger: await member('stranger', other),
    other_admin: other.admin,
  }
  return { tenant, people }
}

async function makeTarget({ tenant, people }: World, given: Rule['given']): Promise<Target> {
  const { super_admin, tenant_admin, owner, editor, viewer, outsider } = people
  const { id: listId } = await makeList(owner, 'Shared')
  await join(owner, listId, editor, 'editor')
  await join(owner, listId, viewer, 'viewer')
  const item = await owner.api.post(`/shopping-lists/${listId}/items`, { name: 'Milk' })
  const target = { listId, itemId: item.body.id, viewer, outsider, freshEmail }
  const account = () => ({ email: freshEmail(), full_name: 'Spare', password: 'a spare passphrase' })
  const made = async (answer: Promise<Answer>): Promise<string> => (await answer).body.id
  if (given === 'deleted list') await owner.api.delete(`/shopping-lists/${listId}`)
  return {
    ...target,
    tenantId:
      given === 'spare tenant'
        ? await made(super_admin.api.post('/tenants', { name: 'Spare', admin: account() }))
        : tenant.id,
    userId: given === 'spare user' ? await made(tenant_admin.api.post('/users', account())) : unknownId,
    invitation: given === 'invitation' ? await invite(owner, listId, outsider) : '',
  }
}

async function invite(owner: Person, listId: string, guest: Person): Promise<string> {
  const answer = await owner.api.post(`/shopping-lists/${listId}/invite`, { email: guest.email })
  return answer.body.token
}

const pathFor = (route: string, params: Record<string, string>): string =>
  (route.split(' /api/v1')[1] ?? '').replace(/:(\w+)/g, (_, name: string) => params[name] ?? 'missing')

function callAs(person: Person, route: string, path: string, body: object | undefined): Promise<Answer> {
  const [method] = route.split(' ')
  if (method === 'GET') return person.api.get(path)
  if (method === 'DELETE') return person.api.delete(path)
  return method === 'PATCH' ? person.api.patch(path, body) : person.api.post(path, body)
}

describeBackends('who may do what', (backend) => {
  for (const route of guarded) {
    const rule = table[route]
    if (rule === undefined) continue
    test(`${route}: every role gets what the table says, and who is refused changes nothing`, async () => {
      const world = await worldOf(backend)
      const found: Partial<Record<Who, number>> = {}
      let target = await makeTarget(world, rule.given)
      for (const who of everyone) {
        const seqOf = async () =>
          (await world.people.owner.api.get(`/shopping-lists/${target.listId}`)).body.seq
        const before = await seqOf()
        const params = rule.params?.(target) ?? {
          id: route.includes('/items/:id') ? target.itemId : target.listId,
        }
        const caller = route.endsWith('/logout')
          ? await signedInAnew(backend, world.people[who])
          : world.people[who]
        const answer = await callAs(caller, route, pathFor(route, params), rule.body?.(target, who))
        found[who] = answer.status
        if (answer.status >= 400) {
          expect(answer.body.code).toMatch(/^[a-z_]+$/)
          expect(await seqOf()).toBe(before)
        } else if (!route.startsWith('GET')) target = await makeTarget(world, rule.given)
      }
      expect(found).toEqual(rule.statuses)
    })
  }

  test('whoever is not signed in gets 401 from every route that is not public, whatever else is wrong', async () => {
    const { url } = await sharedServer(backend)
    const bad: Record<string, string>[] = [
      {},
      { authorization: 'Bearer' },
      { authorization: 'Bearer nonsense' },
      { authorization: 'Basic cm9vdDpyb290' },
      { cookie: 'access_token=x' },
    ]
    const wrong: string[] = []
    for (const route of guarded)
      for (const id of [unknownId, 'no-id'])
        for (const headers of bad) {
          const [method = ''] = route.split(' ')
          const response = await fetch(`${url}/api/v1${pathFor(route, { id, user_id: id })}`, {
            method,
            headers: { ...headers, 'content-type': 'text/plain' },
            ...(method === 'GET' ? {} : { body: '{' }),
          })
          const { code } = (await response.json()) as { code: string }
          const expected = 'authorization' in headers ? 'token_invalid' : 'token_missing'
          if (response.status !== 401 || code !== expected || !response.headers.get('www-authenticate'))
            wrong.push(`${route} with ${JSON.stringify(headers)}: ${response.status} ${code}`)
        }
    expect(wrong).toEqual([])
  })

  test('public routes ask for no token', async () => {
    const { url } = await sharedServer(backend)
    for (const route of routes.filter((candidate) => isPublic(candidate) && !/ \/ws$/.test(candidate))) {
      const [method = '', path = ''] = route.split(' ')
      const response = await fetch(`${url}${path}`, { method })
      await response.arrayBuffer()
      expect(response.status, route).toBe(method === 'GET' ? 200 : 400)
    }
  })

  test('what one may not see answers exactly as what does not exist', async () => {
    const world = await worldOf(backend)
    const { listId, itemId } = await makeTarget(world, undefined)
    const { outsider, stranger, other_admin } = world.people
    const told = async (person: Person, route: string, id: string) => {
      const { status, body } = await callAs(
        person,
        route,
        pathFor(route, { id }),
        table[route]?.body?.({ outsider } as Target, 'outsider'),
      )
      return { status, ...body, request_id: '' }
    }
    const onOneThing = guarded.filter((route) =>
      /(shopping-lists|items)\/:id(?!.*(user_id|restore))/.test(route),
    )
    expect(onOneThing.length).toBeGreaterThan(8)
    for (const person of [outsider, stranger, other_admin])
      for (const route of onOneThing) {
        const hidden = await told(person, route, route.includes('/items/:id') ? itemId : listId)
        expect(hidden, route).toEqual(await told(person, route, unknownId))
        expect(hidden.status, route).toBe(404)
      }
  })

  test('editors and viewers may leave a list; its owner may not before handing it over', async () => {
    const world = await worldOf(backend)
    const { owner, editor, viewer } = world.people
    const { listId } = await makeTarget(world, undefined)
    const leave = (person: Person) => person.api.delete(`/shopping-lists/${listId}/members/${person.id}`)
    expect((await leave(editor)).status).toBe(204)
    expect((await leave(viewer)).status).toBe(204)
    expect((await leave(owner)).body).toMatchObject({ status: 409, code: 'owner_must_hand_over' })
    expect((await editor.api.get(`/shopping-lists/${listId}`)).status).toBe(404)
  })
})

const signedInAnew = async (backend: Backend, { email, password }: Person): Promise<Person> =>
  asPerson(await sharedServer(backend), email, password)
