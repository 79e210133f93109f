import { beforeAll, expect, test } from 'bun:test'
import fc from 'fast-check'
import { generateKeyBetween } from 'fractional-indexing'
import {
  applyEvents,
  type Item,
  type ListEvent,
  type ListState,
  type Self,
  stateOf,
} from '../../src/client/index.ts'
import { eventsOf } from '../support/history.ts'
import { join, makeList, makeTenant, makeUser, type Person, type Tenant } from '../support/people.ts'
import { describeService, sharedServer, type TestServer } from '../support/server.ts'
import { comparable } from './setup.ts'

const text = fc.string({ minLength: 1, maxLength: 8, unit: fc.constantFrom('a', 'B', 'é', '🥕', '1') })
const which = fc.nat({ max: 1000 })
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('add' as const), name: text }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('add many' as const), count: fc.integer({ min: 2, max: 5 }) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('change' as const), which, name: text }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('buy' as const), which }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('move' as const), which, behind: which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('delete' as const), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('clear' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('rename' as const), name: text }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('delete and restore' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('join' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('demote' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('hand over' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remove' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

describeService('applying events', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person
  let ben: Person
  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant, { name: 'Ann' })
    ben = await makeUser(server, tenant, { name: 'Ben' })
  })

  const read = async (person: Person, listId: string): Promise<ListState> =>
    stateOf((await person.api.get(`/shopping-lists/${listId}`)).body)

  /** Everything is done by the admin, who may, whoever owns the list. */
  const take = async (listId: string, { items, members }: ListState, doing: Step): Promise<void> => {
    const { api } = tenant.admin
    const path = `/shopping-lists/${listId}`
    const pick = (n: number): Item | undefined => items[n % Math.max(items.length, 1)]
    const item = 'which' in doing ? pick(doing.which) : undefined
    const hasBen = members.find(({ user_id }) => user_id === ben.id)
    if (doing.do === 'add') await api.post(`${path}/items`, { name: doing.name })
    if (doing.do === 'add many')
      await api.post(`${path}/items`, { items: Array.from({ length: doing.count }, () => ({ name: 'Egg' })) })
    if (doing.do === 'change' && item) await api.patch(`/items/${item.id}`, { name: doing.name })
    if (doing.do === 'buy' && item) await api.patch(`/items/${item.id}`, { status: 'purchased' })
    if (doing.do === 'move' && item) {
      const position = generateKeyBetween(pick(doing.behind)?.position, null)
      await api.patch(`/items/${item.id}`, { position })
    }
    if (doing.do === 'delete' && item) await api.delete(`/items/${item.id}`)
    if (doing.do === 'clear') await api.post(`${path}/items/clear-purchased`)
    if (doing.do === 'rename') await api.patch(path, { name: doing.name })
    if (doing.do === 'delete and restore') {
      await api.delete(path)
      await api.post(`${path}/restore`)
    }
    if (doing.do === 'join' && !hasBen) await join(tenant.admin, listId, ben)
    if (doing.do === 'demote' && hasBen) await api.patch(`${path}/members/${ben.id}`, { role: 'viewer' })
    if (doing.do === 'hand over' && hasBen)
      await api.patch(`${path}/members/${hasBen.role === 'owner' ? ann.id : ben.id}`, { role: 'owner' })
    if (doing.do === 'remove' && hasBen?.role !== 'owner') await api.delete(`${path}/members/${ben.id}`)
  }

  test('to any snapshot gives any later snapshot', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
        const { id } = await makeList(ann)
        const admin: Self = { id: tenant.admin.id, isTenantAdmin: true }
        const snapshots = [await read(tenant.admin, id)]
        for (const doing of steps) {
          const now = snapshots.at(-1)
          if (now) await take(id, now, doing)
          snapshots.push(await read(tenant.admin, id))
        }
        const events = (await eventsOf(tenant.admin, id)) as ListEvent[]
        const last = snapshots.at(-1)
        for (const from of snapshots)
          for (const to of [snapshots[Math.ceil(snapshots.length / 2)], last]) {
            if (!to || to.seq < from.seq) continue
            const between = events.slice(from.seq, to.seq)
            const frozen = structuredClone(from)
            expect(comparable(applyEvents(from, between, admin))).toEqual(comparable(to))
            const oneByOne = between.reduce((state, event) => applyEvents(state, [event], admin), from)
            expect(comparable(oneByOne)).toEqual(comparable(to))
            expect(from).toEqual(frozen)
          }
      }),
      { numRuns: 12 },
    )
  })

  test("updates the user's own role", async () => {
    const { id } = await makeList(ann)
    await join(ann, id, tenant.admin)
    const start = await read(ann, id)
    const handOver = await ann.api.patch(`/shopping-lists/${id}/members/${tenant.admin.id}`, {
      role: 'owner',
    })
    expect(handOver.status).toBe(200)
    const events = (await eventsOf(ann, id, start.seq)) as ListEvent[]
    const mine = applyEvents(start, events, { id: ann.id, isTenantAdmin: false })
    expect([start.role, mine.role]).toEqual(['owner', 'editor'])
    expect(comparable(mine)).toEqual(comparable(await read(ann, id)))
  })

  test('keeps untouched parts as the same objects', async () => {
    const { id } = await makeList(ann)
    await ann.api.post(`/shopping-lists/${id}/items`, { items: [{ name: 'Milk' }, { name: 'Bread' }] })
    const start = await read(ann, id)
    await ann.api.patch(`/items/${start.items[0]?.id}`, { name: 'Oat milk' })
    const events = (await eventsOf(ann, id, start.seq)) as ListEvent[]
    const next = applyEvents(start, events, { id: ann.id, isTenantAdmin: false })
    expect(next.members).toBe(start.members)
    expect(next.items[1]).toBe(start.items[1] as Item)
    expect(next.items[0]?.name).toBe('Oat milk')
  })

  test('refuses events with a gap, and counts unknown ones', async () => {
    const { id } = await makeList(ann)
    await ann.api.post(`/shopping-lists/${id}/items`, { items: [{ name: 'Milk' }, { name: 'Bread' }] })
    const events = (await eventsOf(ann, id)) as ListEvent[]
    const self = { id: ann.id, isTenantAdmin: false }
    const empty = { ...(await read(ann, id)), items: [], seq: 0 }
    expect(() => applyEvents(empty, events.slice(1), self)).toThrow(RangeError)
    expect(applyEvents(empty, events, self).seq).toBe(2)
    const unknown = { ...events[0], type: 'item_blessed', seq: 3 } as unknown as ListEvent
    expect(applyEvents(empty, [...events, unknown], self)).toMatchObject({ seq: 3, items: { length: 2 } })
  })
})
