/** Calls every route as every role and compares the outcome with CONTRACT section 2. */
import { afterEach, expect, test } from 'bun:test'
import { asPerson, type Person } from '../../support/people.ts'
import { type Backend, describeBackends, sharedServer } from '../../support/server.ts'
import { closeSockets, openSocket } from '../../support/socket.ts'
import { rows } from './contract.ts'
import { actions, everyone, type Rule, table, type Who } from './table.ts'
import { call, guarded, isPublic, makeTarget, pathFor, routes, send, unknownId, worldOf } from './world.ts'

test('every route is either declared public or listed in the permission table, which lists nothing else', () => {
  expect([...new Set(table.map(({ route }) => route))].sort()).toEqual([...guarded])
})

test('the permission table has exactly the actions of the contract', () => {
  expect(Object.keys(actions)).toEqual([...rows.keys()])
  for (const cells of rows.values()) expect(Object.values(cells)).not.toContain('')
})

/** Calls after which the next caller can use the same target. */
const changesNothing = ({ route, given }: Rule): boolean =>
  route.startsWith('GET') || (given === undefined && !/\/:id/.test(route))

describeBackends('permissions', (backend) => {
  afterEach(closeSockets)

  for (const rule of table)
    test(`${rule.action}: ${rule.route} is allowed to exactly the roles of the contract, and a refused call changes nothing`, async () => {
      const world = await worldOf(backend)
      const { owner } = world.people
      const found: Partial<Record<Who, number>> = {}
      let target = await makeTarget(world, rule.given)
      const seqOf = async (): Promise<number> =>
        (await owner.api.get(`/shopping-lists/${target.listId}`)).body.seq
      for (const who of everyone) {
        const before = await seqOf()
        const person = world.people[who]
        const caller = rule.route.endsWith('/logout') ? await signInAgain(backend, person) : person
        const answer = await call(rule, target, who, caller)
        found[who] = answer.status
        if (answer.status >= 400) {
          expect(answer.body.code).toMatch(/^[a-z_]+$/)
          expect(await seqOf()).toBe(before)
        } else if (!changesNothing(rule)) target = await makeTarget(world, rule.given)
      }
      expect(found).toEqual(rule.statuses)
    })

  test('See a list and its items, subscribe to it: whoever may read a list may subscribe to it', async () => {
    const server = await sharedServer(backend)
    const world = await worldOf(backend)
    const { listId } = await makeTarget(world)
    const page = table.find(({ route }) => route === 'GET /api/v1/shopping-lists/:id')
    const actual = await Promise.all(
      everyone.map(async (who) => {
        const socket = await openSocket(server, world.people[who].accessToken)
        socket.send('subscribe', { list_id: listId })
        await socket.settled()
        const { type, payload } = socket.messages[1] ?? { type: 'nothing', payload: {} }
        return [who, type === 'subscribed' ? 200 : payload.code]
      }),
    )
    const expected = everyone.map((who) => [who, page?.statuses[who] === 200 ? 200 : 'not_found'])
    expect(actual).toEqual(expected)
  })

  test('a page of lists holds only the lists of the caller or, for an admin with scope=all, those of the tenant', async () => {
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

  test('an admin sees all users with their status; members see only name and address of active ones', async () => {
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

  test('a thing the caller may not see answers exactly like one that does not exist', async () => {
    const world = await worldOf(backend)
    const target = await makeTarget(world)
    const { outsider, stranger, other_admin } = world.people
    const answerTo = async (person: Person, { route, body: bodyOf }: Rule, id: string) => {
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
        const hidden = await answerTo(person, rule, id)
        expect(hidden, rule.route).toEqual(await answerTo(person, rule, unknownId))
        expect(hidden.status, rule.route).toBe(404)
      }
  })

  test('an owner must hand the list over before leaving, and no longer sees it afterwards', async () => {
    const { people } = await worldOf(backend)
    const { owner, editor } = people
    const { listId } = await makeTarget(await worldOf(backend))
    const leave = (person: Person) => person.api.delete(`/shopping-lists/${listId}/members/${person.id}`)
    expect((await leave(editor)).status).toBe(204)
    expect((await leave(owner)).body).toMatchObject({ status: 409, code: 'owner_must_hand_over' })
    expect((await editor.api.get(`/shopping-lists/${listId}`)).status).toBe(404)
  })

  test('public routes need no token', async () => {
    const { url } = await sharedServer(backend)
    for (const route of routes.filter((candidate) => isPublic(candidate) && !/ \/ws$/.test(candidate))) {
      const [method = '', path = ''] = route.split(' ')
      const response = await fetch(`${url}${path}`, { method })
      await response.arrayBuffer()
      expect(response.status, route).toBe(method === 'GET' ? 200 : 400)
    }
  })
})

const signInAgain = async (backend: Backend, { email, password }: Person): Promise<Person> =>
  asPerson(await sharedServer(backend), email, password)
