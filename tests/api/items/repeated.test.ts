/** Bulk adds, repeated requests with the same ids, and the limit of items on a list. */
import { beforeAll, expect, test } from 'bun:test'
import { eventsOf, outcome, refusedFields, typesOf } from '../../support/history.ts'
import {
  addItem,
  join,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  type Tenant,
} from '../../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../../support/server.ts'

describeBackends('adding items', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person
  let ben: Person

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant, { name: 'ann' })
    ben = await makeUser(server, tenant, { name: 'ben' })
  })

  const adding = (listId: string, body: unknown, person = ann) =>
    person.api.post(`/shopping-lists/${listId}/items`, body)
  const named = (count: number) => Array.from({ length: count }, (_, index) => ({ name: `item ${index}` }))
  const state = async (listId: string) => (await ann.api.get(`/shopping-lists/${listId}`)).body

  test('up to 200 items in one request come back in the order sent, with an event each', async () => {
    const { id } = await makeList(ann)
    const added = await adding(id, { items: named(200) })
    expect(added.status).toBe(201)
    expect(Object.keys(added.body)).toEqual(['data'])
    expect(added.body.data.map((item: { name: string }) => item.name)).toEqual(
      named(200).map(({ name }) => name),
    )
    const events = await eventsOf(ann, id)
    expect(events.map((event) => event.payload.item)).toEqual(added.body.data)
    expect(new Set(typesOf(events))).toEqual(new Set(['item_added']))
    expect((await adding(id, { items: named(1) })).body.data).toHaveLength(1)
    for (const count of [0, 201])
      expect(refusedFields(await adding(id, { items: named(count) }))).toEqual(['items'])
    expect(await state(id)).toMatchObject({ seq: 201 })
  })

  test('one invalid item refuses them all and is named by its index', async () => {
    const { id } = await makeList(ann)
    const broken = (fault: object, at = 17) =>
      named(20).map((item, index) => (index === at ? { ...item, ...fault } : item))
    const refused = async (items: object[]) => refusedFields(await adding(id, { items }))
    expect(await refused(broken({ quantity: 0 }))).toEqual(['items.17.quantity'])
    expect(await refused(broken({ name: '' }, 0))).toEqual(['items.0.name'])
    expect(await refused(broken({ colour: 'red' }, 19))).toEqual(['items.19.colour'])
    expect(await refused(broken({ position: 'a00' }))).toEqual(['items.17.position'])
    expect(await refused(broken({ id: 'x' }))).toEqual(['items.17.id'])
    const chosen = Bun.randomUUIDv7()
    expect(await refused([{ name: 'a', id: chosen }, { name: 'b' }, { name: 'a', id: chosen }])).toEqual([
      'items.2.id',
    ])
    expect(refusedFields(await adding(id, { items: named(1), name: 'both' }))).not.toEqual([])
    expect(await state(id)).toMatchObject({ seq: 0, items: [] })
  })

  test('a repeated request returns the existing item and changes nothing, even after later changes', async () => {
    const { id } = await makeList(ann)
    const body = { id: Bun.randomUUIDv7(), name: 'Milk', quantity: 2 }
    const first = await adding(id, body)
    const again = await adding(id, body)
    expect([first.status, again.status, again.headers.get('etag')]).toEqual([201, 200, '"1"'])
    expect(again.body).toEqual(first.body)
    await addItem(ann, id)
    const changed = await ann.api.patch(`/items/${body.id}`, { name: 'Oat milk', status: 'purchased' })
    const late = await adding(id, body)
    expect([late.status, late.headers.get('etag')]).toEqual([200, '"2"'])
    expect(late.body).toEqual(changed.body)
    expect(await state(id)).toMatchObject({ seq: 3 })
  })

  test('a repeated bulk request returns all items in the order sent and adds the missing ones', async () => {
    const { id } = await makeList(ann)
    const items = named(5).map((item) => ({ ...item, id: Bun.randomUUIDv7() }))
    const first = await adding(id, { items: items.slice(0, 4) })
    await ann.api.patch(`/items/${items[1]?.id}`, { note: 'changed' })
    const again = await adding(id, { items: items.slice(0, 4).toReversed() })
    expect(again.status).toBe(200)
    expect(again.body.data.map((item: { id: string }) => item.id)).toEqual(
      items
        .slice(0, 4)
        .toReversed()
        .map((item) => item.id),
    )
    expect(again.body.data[3]).toEqual(first.body.data[0])
    expect(again.body.data[2]).toMatchObject({ note: 'changed', version: 2 })
    const partly = await adding(id, { items: [...items, { name: 'no id' }] })
    expect(partly.status).toBe(201)
    expect(partly.body.data.map((item: { name: string }) => item.name)).toEqual([
      ...items.map(({ name }) => name),
      'no id',
    ])
    expect(typesOf(await eventsOf(ann, id, 5))).toEqual(['item_added', 'item_added'])
    expect((await state(id)).items).toHaveLength(6)
  })

  test("an id of another list or adder conflicts, a deleted one is reported, another tenant's is free", async () => {
    const [here, there] = [(await makeList(ann)).id, (await makeList(ann)).id]
    await join(ann, here, ben)
    const id = Bun.randomUUIDv7()
    await adding(here, { id, name: 'Mine' })
    expect(outcome(await adding(there, { id, name: 'Mine' }))).toBe('409 id_conflict')
    expect(outcome(await adding(here, { id, name: 'Mine' }, ben))).toBe('409 id_conflict')
    expect(outcome(await adding(here, { items: [{ name: 'new' }, { id, name: 'Mine' }] }, ben))).toBe(
      '409 id_conflict',
    )

    const elsewhere = await makeTenant(server)
    const theirs = await makeList(elsewhere.admin)
    const twin = await adding(theirs.id, { id, name: 'Theirs' }, elsewhere.admin)
    expect([twin.status, twin.body.name, twin.body.version]).toEqual([201, 'Theirs', 1])

    await ann.api.delete(`/items/${id}`)
    expect(outcome(await adding(here, { id, name: 'Mine' }))).toBe('409 id_deleted')
    expect(outcome(await adding(here, { items: [{ name: 'new' }, { id, name: 'Mine' }] }))).toBe(
      '409 id_deleted',
    )
    expect(await state(here)).toMatchObject({ seq: 3, items: [] })
    expect((await elsewhere.admin.api.get(`/shopping-lists/${theirs.id}`)).body.items).toHaveLength(1)
  })

  test('a repeated request by someone who may no longer write is refused', async () => {
    const { id } = await makeList(ann)
    await join(ann, id, ben)
    const body = { id: Bun.randomUUIDv7(), name: 'Milk' }
    await adding(id, body, ben)
    await ann.api.patch(`/shopping-lists/${id}/members/${ben.id}`, { role: 'viewer' })
    expect(outcome(await adding(id, body, ben))).toBe('403 forbidden')
    await ann.api.delete(`/shopping-lists/${id}/members/${ben.id}`)
    expect(outcome(await adding(id, body, ben))).toBe('404 not_found')
  })

  test('a list holds at most 5,000 items; repeated requests still work, and a deletion makes room', async () => {
    const { id } = await makeList(ann)
    const last = named(200).map((item) => ({ ...item, id: Bun.randomUUIDv7() }))
    for (let round = 0; round < 24; round++)
      expect((await adding(id, { items: named(200) })).status).toBe(201)
    expect((await adding(id, { items: last.slice(0, 199) })).status).toBe(201)
    expect(outcome(await adding(id, { items: named(2) }))).toBe('409 list_full')
    expect((await adding(id, { items: last })).status).toBe(201)
    expect(outcome(await adding(id, { name: 'too many' }))).toBe('409 list_full')
    expect((await adding(id, { items: last })).status).toBe(200)
    const whole = await state(id)
    expect([whole.items.length, whole.seq]).toEqual([5000, 5000])
    await ann.api.delete(`/items/${last[0]?.id}`)
    expect((await adding(id, { name: 'fits again' })).status).toBe(201)
    expect(outcome(await adding(id, { name: 'too many' }))).toBe('409 list_full')
  })
})
