/** The shape of an item, and which quantities and texts it accepts. */
import { beforeAll, expect, test } from 'bun:test'
import { eventsOf, outcome, refusedFields } from '../../support/history.ts'
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

describeBackends('items', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person
  let list: string

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant, { name: 'ann' })
    list = (await makeList(ann)).id
  })

  const adding = (body: unknown, person = ann) => person.api.post(`/shopping-lists/${list}/items`, body)

  test('a minimal item has its defaults, its adder and version 1, and is one item_added with the whole item', async () => {
    const { id } = await makeList(ann)
    const added = await ann.api.post(`/shopping-lists/${id}/items`, { name: ' Milk ' })
    expect([added.status, added.headers.get('etag')]).toEqual([201, '"1"'])
    const { created_at, ...item } = added.body
    expect(item).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7/),
      list_id: id,
      name: 'Milk',
      quantity: 1,
      unit: null,
      note: null,
      category: null,
      status: 'pending',
      position: 'a0',
      added_by: ann.id,
      updated_by: ann.id,
      purchased_by: null,
      purchased_at: null,
      version: 1,
      updated_at: expect.stringMatching(/\.\d{3}Z$/),
    })
    expect(created_at).toMatch(/^\d{4}-\d\d-\d\dT.*\.\d{3}Z$/)
    const [event, ...more] = await eventsOf(ann, id)
    expect(more).toEqual([])
    expect(event).toMatchObject({
      type: 'item_added',
      actor_id: ann.id,
      payload: { list_id: id, item: added.body },
    })
    expect(Object.keys(event?.payload).sort()).toEqual(['item', 'list_id'])
    expect((await ann.api.get(`/shopping-lists/${id}`)).body.items).toEqual([added.body])
    expect((await ann.api.get(`/shopping-lists/${id}/items`)).body).toEqual({
      data: [added.body],
      next_cursor: null,
    })
  })

  test('every field of an item is stored', async () => {
    const full = {
      name: 'N',
      quantity: 2.25,
      unit: 'kg',
      note: 'two\nlines',
      category: 'Fruit',
      position: 'b0V',
    }
    const id = Bun.randomUUIDv7()
    expect((await adding({ ...full, id })).body).toMatchObject({ ...full, id, note: 'two\nlines' })
    const none = { unit: null, note: null, category: null }
    expect((await adding({ name: 'N', ...none })).body).toMatchObject(none)
    const empty = { unit: '', note: ' ', category: '\n' }
    const { body } = await adding({ ...full, id: Bun.randomUUIDv7(), ...empty })
    expect(body).toMatchObject(none)
    expect((await adding({ items: [{ name: 'N', ...empty }] })).body.data[0]).toMatchObject(none)
    await ann.api.patch(`/items/${body.id}`, { note: 'x' })
    expect((await ann.api.patch(`/items/${body.id}`, empty)).body).toMatchObject({ ...none, version: 3 })
  })

  test.each([
    [0.001, 0.001],
    [0.1, 0.1],
    [1.5, 1.5],
    [2, 2],
    [999_999.999, 999_999.999],
    [1e6, 1_000_000],
    [1e-3, 0.001],
  ])('the quantity %p is accepted and returned as %p', async (given, returned) => {
    const added = await adding({ name: 'x', quantity: given })
    expect([added.status, added.body.quantity]).toEqual([201, returned])
  })

  test('trailing zeros are dropped: 1.500 is 1.5 in every answer', async () => {
    const response = await fetch(`${server.url}/api/v1/shopping-lists/${list}/items`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ann.accessToken}`, 'content-type': 'application/json' },
      body: '{"name":"x","quantity":1.500}',
    })
    const text = await response.text()
    expect(text).toContain('"quantity":1.5,')
    const { id } = JSON.parse(text)
    expect((await ann.api.patch(`/items/${id}`, { quantity: 10 })).text).toContain('"quantity":10,')
  })

  test.each([0, -0, -1, 0.0001, 1.0005, 1_000_000.001, 1_000_001, 1e21, 0.1 + 0.2])(
    'the quantity %p is refused',
    async (quantity) => {
      const added = await adding({ name: 'x', quantity })
      expect([outcome(added), refusedFields(added)]).toEqual(['422 invalid', ['quantity']])
    },
  )

  test('a quantity must be a number', async () => {
    const { id } = await addItem(ann, list)
    for (const quantity of ['1', '', 'many', true, null, [], [1], {}]) {
      expect(refusedFields(await adding({ name: 'x', quantity }))).toEqual(['quantity'])
      expect(refusedFields(await ann.api.patch(`/items/${id}`, { quantity }))).toEqual(['quantity'])
    }
  })

  test('names, texts and unknown fields are refused by their name', async () => {
    const refused = async (body: Record<string, unknown>) => {
      const answer = await adding(body)
      expect(outcome(answer)).toBe('422 invalid')
      return refusedFields(answer)
    }
    expect(await refused({})).toEqual(['name'])
    expect(await refused({ name: ' ' })).toEqual(['name'])
    expect(await refused({ name: 'x'.repeat(256) })).toEqual(['name'])
    expect(await refused({ name: 'x', unit: 'u'.repeat(33) })).toEqual(['unit'])
    expect(await refused({ name: 'x', category: 'c'.repeat(65) })).toEqual(['category'])
    expect(await refused({ name: 'x', note: 'n'.repeat(2001) })).toEqual(['note'])
    expect(await refused({ name: 'x', note: 'bell\u0007' })).toEqual(['note'])
    expect(await refused({ name: 'x', unit: 'a\nb' })).toEqual(['unit'])
    for (const field of ['status', 'version', 'added_by', 'list_id', 'purchased_by', 'tenant_id'])
      expect(await refused({ name: 'x', [field]: 'pending' })).toEqual([field])
    const limits = { unit: 'ü'.repeat(32), category: '🍏'.repeat(64), note: '🍏'.repeat(2000) }
    expect((await adding({ name: '🍏'.repeat(255), ...limits })).body).toMatchObject(limits)
  })

  test('editors and admins write items, viewers only read, others get 404', async () => {
    const { id } = await makeList(ann)
    const people = {
      editor: await makeUser(server, tenant),
      viewer: await makeUser(server, tenant),
      stranger: await makeUser(server, tenant),
    }
    await join(ann, id, people.editor, 'editor')
    await join(ann, id, people.viewer, 'viewer')
    const item = await addItem(ann, id)
    const tried = async (person: Person) =>
      new Set([
        outcome(await person.api.post(`/shopping-lists/${id}/items`, { name: 'x' })),
        outcome(await person.api.post(`/shopping-lists/${id}/items`, { items: [{ name: 'x' }] })),
        outcome(await person.api.patch(`/items/${item.id}`, { name: 'x' })),
        outcome(await person.api.post(`/shopping-lists/${id}/items/clear-purchased`)),
      ])
    expect([...(await tried(people.viewer))]).toEqual(['403 forbidden'])
    expect([...(await tried(people.stranger))]).toEqual(['404 not_found'])
    expect(outcome(await people.viewer.api.delete(`/items/${item.id}`))).toBe('403 forbidden')
    expect(outcome(await people.stranger.api.delete(`/items/${item.id}`))).toBe('404 not_found')
    expect((await people.viewer.api.get(`/shopping-lists/${id}/items`)).body.data).toMatchObject([item])
    expect(outcome(await people.stranger.api.get(`/shopping-lists/${id}/items`))).toBe('404 not_found')
    for (const person of [people.editor, tenant.admin])
      expect([...(await tried(person))].sort()).toEqual(['200', '201'])
    expect((await people.editor.api.delete(`/items/${item.id}`)).status).toBe(204)
  })
})
