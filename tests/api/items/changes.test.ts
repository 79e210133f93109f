/** Changing, buying and deleting items. */
import { beforeAll, expect, test } from 'bun:test'
import { eventsOf, outcome, refusedFields, typesOf } from '../../support/history.ts'
import { addItem, join, makeList, makeTenant, makeUser, type Person } from '../../support/people.ts'
import { describeBackends, sharedServer } from '../../support/server.ts'

describeBackends('changes of items', (backend) => {
  let ann: Person
  let ben: Person
  let list: string

  beforeAll(async () => {
    const server = await sharedServer(backend)
    const tenant = await makeTenant(server)
    ann = await makeUser(server, tenant, { name: 'ann' })
    ben = await makeUser(server, tenant, { name: 'ben' })
    list = (await makeList(ann)).id
    await join(ann, list, ben)
  })

  const seqOf = async (): Promise<number> => (await ann.api.get(`/shopping-lists/${list}`)).body.seq

  test('a change increments the version, records who made it, and is one event with what changed', async () => {
    const item = await addItem(ann, list, { name: 'Milk', unit: 'l', note: 'fresh', category: 'Dairy' })
    const seq = await seqOf()
    const changed = await ben.api.patch(`/items/${item.id}`, {
      name: 'Oat milk',
      quantity: 3,
      note: null,
      unit: 'l',
    })
    expect([changed.status, changed.headers.get('etag')]).toEqual([200, '"2"'])
    expect(changed.body).toMatchObject({
      name: 'Oat milk',
      quantity: 3,
      note: null,
      unit: 'l',
      category: 'Dairy',
    })
    expect(changed.body).toMatchObject({
      version: 2,
      added_by: ann.id,
      updated_by: ben.id,
      status: 'pending',
    })
    const cleared = await ann.api.patch(`/items/${item.id}`, { unit: null, category: null })
    expect(cleared.body).toMatchObject({ unit: null, category: null, version: 3, updated_by: ann.id })
    const events = await eventsOf(ann, list, seq)
    expect(events.map(({ type, payload, actor_id }) => ({ type, actor_id, ...payload }))).toEqual([
      {
        type: 'item_updated',
        actor_id: ben.id,
        list_id: list,
        item: changed.body,
        changed: ['name', 'quantity', 'note'],
      },
      {
        type: 'item_updated',
        actor_id: ann.id,
        list_id: list,
        item: cleared.body,
        changed: ['unit', 'category'],
      },
    ])
  })

  test('a change without effect makes no event and no new version', async () => {
    const item = (
      await ann.api.post(`/shopping-lists/${list}/items`, { name: 'Same', quantity: 1.5, note: 'n' })
    ).body
    const seq = await seqOf()
    for (const change of [
      {},
      { name: 'Same ' },
      { quantity: 1.5, unit: null },
      { status: 'pending' },
      { ...(item.position && { position: item.position }) },
    ]) {
      const answer = await ben.api.patch(`/items/${item.id}`, change)
      expect([answer.status, answer.headers.get('etag'), answer.body]).toEqual([200, '"1"', item])
    }
    expect(await seqOf()).toBe(seq)
  })

  test('buying records who and when, once; undoing it clears both', async () => {
    const item = await addItem(ann, list)
    const seq = await seqOf()
    const bought = await ben.api.patch(`/items/${item.id}`, { status: 'purchased' })
    expect(bought.body).toMatchObject({ status: 'purchased', purchased_by: ben.id, version: 2 })
    expect(Math.abs(Date.parse(bought.body.purchased_at) - Date.now())).toBeLessThan(10_000)
    const twice = await ann.api.patch(`/items/${item.id}`, { status: 'purchased' })
    expect([twice.status, twice.body]).toEqual([200, bought.body])
    const renamed = await ann.api.patch(`/items/${item.id}`, { name: 'Soy milk', status: 'purchased' })
    expect(renamed.body).toMatchObject({
      purchased_by: ben.id,
      purchased_at: bought.body.purchased_at,
      version: 3,
    })
    const back = await ann.api.patch(`/items/${item.id}`, { status: 'pending' })
    expect(back.body).toMatchObject({ status: 'pending', purchased_by: null, purchased_at: null, version: 4 })
    const events = await eventsOf(ann, list, seq)
    expect(events.map(({ payload }) => payload.changed)).toEqual([['status'], ['name'], ['status']])
  })

  test('read-only fields and invalid values are refused', async () => {
    const item = await addItem(ann, list)
    const refused = async (change: object) => refusedFields(await ann.api.patch(`/items/${item.id}`, change))
    for (const status of ['bought', '', null, true]) expect(await refused({ status })).toEqual(['status'])
    for (const field of ['id', 'list_id', 'purchased_by', 'purchased_at', 'version', 'added_by'])
      expect(await refused({ [field]: ann.id })).toEqual([field])
    expect(await refused({ name: null })).toEqual(['name'])
    expect(await refused({ name: '' })).toEqual(['name'])
    expect((await ann.api.get(`/shopping-lists/${list}`)).body.items.at(-1)).toMatchObject({ version: 1 })
  })

  test('changes of different fields merge; of the same field the later wins, unless If-Match prevents it', async () => {
    const item = await addItem(ann, list, { name: 'Milk' })
    const path = `/items/${item.id}`
    await Promise.all([ann.api.patch(path, { name: 'Cream' }), ben.api.patch(path, { quantity: 2 })])
    const read = { headers: { 'if-match': '"3"' } }
    expect((await ann.api.patch(path, { note: 'mine' }, read)).body).toMatchObject({
      name: 'Cream',
      quantity: 2,
      note: 'mine',
      version: 4,
    })
    expect((await ben.api.patch(path, { note: 'later' })).body.note).toBe('later')
    const refused = await ann.api.patch(path, { note: 'lost' }, read)
    expect(outcome(refused)).toBe('412 version_mismatch')
    expect(refused.body.current).toMatchObject({ id: item.id, note: 'later', version: 5, quantity: 2 })
    expect(outcome(await ann.api.delete(path, read))).toBe('412 version_mismatch')
  })

  test('If-Match also accepts the seq of the list', async () => {
    const item = await addItem(ann, list)
    const seen = await seqOf()
    await addItem(ben, list)
    const path = `/items/${item.id}`
    const since = (seq: number) => ({ headers: { 'if-match': `"seq-${seq}"` } })
    for (const answer of [
      await ann.api.patch(path, { name: 'x' }, since(seen)),
      await ann.api.delete(path, since(seen)),
    ]) {
      expect(outcome(answer)).toBe('412 version_mismatch')
      expect(answer.body.current).toMatchObject({ id: item.id, version: 1 })
    }
    expect((await ann.api.patch(path, { name: 'x' }, since(seen + 1))).status).toBe(200)
    expect((await ann.api.delete(path, { headers: { 'if-match': '"2"' } })).status).toBe(204)
  })

  test('deleting an item is final and one event', async () => {
    const item = await addItem(ann, list)
    const seq = await seqOf()
    const deleted = await ben.api.delete(`/items/${item.id}`)
    expect([deleted.status, deleted.text]).toEqual([204, ''])
    expect(outcome(await ann.api.delete(`/items/${item.id}`))).toBe('404 not_found')
    expect(outcome(await ann.api.patch(`/items/${item.id}`, { name: 'x' }))).toBe('404 not_found')
    expect((await ann.api.get(`/shopping-lists/${list}/items`)).text).not.toContain(item.id)
    const events = await eventsOf(ann, list, seq)
    expect(events).toMatchObject([{ type: 'item_deleted', actor_id: ben.id }])
    expect(events[0]?.payload).toEqual({ list_id: list, item_id: item.id })
  })

  test('clearing purchased items deletes exactly those, with one event each, in list order', async () => {
    const { id } = await makeList(ann)
    const { data } = (
      await ann.api.post(`/shopping-lists/${id}/items`, {
        items: ['a', 'b', 'c', 'd'].map((name) => ({ name })),
      })
    ).body
    const clear = () => ann.api.post(`/shopping-lists/${id}/items/clear-purchased`)
    expect((await clear()).body).toEqual({ deleted: 0 })
    const bought = [data[3], data[0], data[2]]
    for (const item of bought) await ann.api.patch(`/items/${item.id}`, { status: 'purchased' })
    expect((await clear()).body).toEqual({ deleted: 3 })
    const events = await eventsOf(ann, id, 7)
    expect(typesOf(events)).toEqual(['item_deleted', 'item_deleted', 'item_deleted'])
    expect(events.map(({ payload }) => payload.item_id)).toEqual([data[0].id, data[2].id, data[3].id])
    expect((await ann.api.get(`/shopping-lists/${id}`)).body).toMatchObject({
      seq: 10,
      items: [{ id: data[1].id }],
    })
    expect((await clear()).body).toEqual({ deleted: 0 })
  })
})
