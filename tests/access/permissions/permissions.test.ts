/** Every route the program has, called by everyone: CONTRACT section 2, held against the program's own routes. */
import { afterEach, expect, test } from 'bun:test'
import { asPerson, type Person } from '../../support/people.ts'
import { type Backend, describeBackends, sharedServer } from '../../support/server.ts'
import { closeSockets, openSocket } from '../../support/socket.ts'
import { rows } from './contract.ts'
import { actions, everyone, type Rule, table, type Who } from './table.ts'
import { call, guarded, isPublic, makeTarget, pathFor, routes, send, unknownId, worldOf } from './world.ts'

test('every route is public on purpose or belongs to an action of the table, and the table knows no other', () => {
  expect([...new Set(table.map(({ route }) => route))].sort()).toEqual([...guarded])
})

test('the actions of the table are those of the contract', () => {
  expect(Object.keys(actions)).toEqual([...rows.keys()])
  for (const cells of rows.values()) expect(Object.values(cells)).not.toContain('')
})

/** Calls that leave nothing behind which the next caller would find changed. */
const changesNothing = ({ route, given }: Rule): boolean =>
  route.startsWith('GET') || (given === undefined && !/\/:id/.test(route))

describeBackends('who may do what', (backend) => {
  afterEach(closeSockets)

  for (const rule of table)
    test(`${rule.action}: ${rule.route} is for whom the contract says, and who is refused changes nothing`, async () => {
      const world = await worldOf(backend)
      const { owner } = world.people
      const found: Partial<Record<Who, number>> = {}
      let target = await makeTarget(world, rule.given)
      const seqOf = async (): Promise<number> =>
        (await owner.api.get(`/shopping-lists/${target.listId}`)).body.seq
      for (const who of everyone) {
        const before = await seqOf()
        const person = world.people[who]
        const caller = rule.route.endsWith('/logout') ? await signedInAnew(backend, person) : person
        const answer = await call(rule, target, who, caller)
        found[who] = answer.status
        if (answer.status >= 400) {
          expect(answer.body.code).toMatch(/^[a-z_]+$/)
          expect(await seqOf()).toBe(before)
        } else if (!changesNothing(rule)) target = await makeTarget(world, rule.given)
      }
      expect(found).toEqual(rule.statuses)
    })

  test('See a list and its items, subscribe to it: a socket follows a list for whom its page opens', async () => {
    const server = await sharedServer(backend)
    const world = await worldOf(backend)
    const { listId } = await makeTarget(world)
    const page = table.find(({ route }) => route === 'GET /api/v1/shopping-lists/:id')
    const told = await Promise.all(
      everyone.map(async (who) => {
        const socket = await openSocket(server, world.people[who].accessToken)
        socket.send('subscribe', { list_id: listId })
        await socket.settled()
        const { type, payload } = socket.messages[1] ?? { type: 'nothing', payload: {} }
        return [who, type === 'subscribed' ? 200 : payload.code]
      }),
    )
    const expected = everyone.map((who) => [who, page?.statuses[who] === 200 ? 200 : 'not_found'])
    expect(told).toEqual(expected)
  })

  test('a page of lists holds those one is on, and for an admin who asks all of the tenant, no other', async () => {
    const world = await worldOf(backend)
    const { listId } = await makeTarget(world)
    const seenBy = async (query: string): Promise<Who[]> => {
      const seen: Who[] = []
      for (const who of everyone) {
        const { body } = await world.people[who].api.get(`/shopping-lists${query}`)
        if (body.data?.some(({ id }: { id: string }) => id === listId)) seen.push(who)
      }
      return seen
    }
    expect(await seenBy('')).toEqual(['owner', 'editor', 'viewer'])
    expect(await seenBy('?scope=all')).toEqual(['tenant_admin'])
  })

  test('of the people of a tenant an admin sees all with their status, others name and address of the active', async () => {
    const { people } = await worldOf(backend)
    const { id } = people.outsider
    const fieldsFor = async (who: Who): Promise<string[]> => {
      const page = await people[who].api.get('/users')
      const one = await people[who].api.get(`/users/${id}`)
      const row = page.body.data.find((user: { id: string }) => user.id === id)
      expect(Object.keys(row).sort()).toEqual(Object.keys(one.body).sort())
      return Object.keys(row).sort()
    }
    for (const who of ['owner', 'editor', 'viewer', 'outsider'] as const)
      expect([who, await fieldsFor(who)]).toEqual([who, ['email', 'full_name', 'id']])
    expect(await fieldsFor('tenant_admin')).toEqual(expect.arrayContaining(['is_active', 'role']))
  })

  test('what one may not see answers exactly as what does not exist', async () => {
    const world = await worldOf(backend)
    const target = await makeTarget(world)
    const { outsider, stranger, other_admin } = world.people
    const told = async (person: Person, { route, body: bodyOf }: Rule, id: string) => {
      const { status, body } = await send(person, route, pathFor(route, { id }), bodyOf?.(target, 'outsider'))
      return { status, ...body, request_id: '' }
    }
    const onOneThing = table.filter(({ route }) =>
      /(shopping-lists|items)\/:id(?!.*(user_id|restore))/.test(route),
    )
    expect(onOneThing.length).toBeGreaterThan(8)
    for (const person of [outsider, stranger, other_admin])
      for (const rule of onOneThing) {
        const id = rule.route.includes('/items/:id') ? target.itemId : target.listId
        const hidden = await told(person, rule, id)
        expect(hidden, rule.route).toEqual(await told(person, rule, unknownId))
        expect(hidden.status, rule.route).toBe(404)
      }
  })

  test('an owner may not leave before handing the list over; who left sees it no more', async () => {
    const { people } = await worldOf(backend)
    const { owner, editor } = people
    const { listId } = await makeTarget(await worldOf(backend))
    const leave = (person: Person) => person.api.delete(`/shopping-lists/${listId}/members/${person.id}`)
    expect((await leave(editor)).status).toBe(204)
    expect((await leave(owner)).body).toMatchObject({ status: 409, code: 'owner_must_hand_over' })
    expect((await editor.api.get(`/shopping-lists/${listId}`)).status).toBe(404)
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
})

const signedInAnew = async (backend: Backend, { email, password }: Person): Promise<Person> =>
  asPerson(await sharedServer(backend), email, password)
