/** Deleted lists are gone for everyone and can be restored by their owner or an admin. */
import { beforeAll, expect, test } from 'bun:test'
import { eventsOf, outcome, typesOf } from '../../support/history.ts'
import {
  addItem,
  join,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  type Tenant,
} from '../../support/people.ts'
import { describeBackends, sharedServer } from '../../support/server.ts'

describeBackends('deleted lists', (backend) => {
  let tenant: Tenant
  let owner: Person
  let editor: Person
  let stranger: Person

  beforeAll(async () => {
    const server = await sharedServer(backend)
    tenant = await makeTenant(server)
    owner = await makeUser(server, tenant, { name: 'Olga' })
    editor = await makeUser(server, tenant, { name: 'Ed' })
    stranger = await makeUser(server, tenant, { name: 'Sam' })
  })

  const idsSeenBy = async (person: Person, query: string): Promise<string[]> =>
    (await person.api.get(`/shopping-lists?limit=100${query}`)).body.data.map(
      (list: { id: string }) => list.id,
    )

  test('a deleted list is not found on any route, by anyone', async () => {
    const { id } = await makeList(owner)
    await join(owner, id, editor)
    const item = await addItem(owner, id)
    const path = `/shopping-lists/${id}`
    const deleted = await owner.api.delete(path)
    expect([deleted.status, deleted.text]).toEqual([204, ''])
    for (const person of [owner, editor, tenant.admin]) {
      for (const answer of [
        await person.api.get(path),
        await person.api.patch(path, { name: 'x' }),
        await person.api.delete(path),
        await person.api.get(`${path}/members`),
        await person.api.patch(`${path}/members/${editor.id}`, { role: 'viewer' }),
        await person.api.delete(`${path}/members/${editor.id}`),
        await person.api.post(`${path}/invite`, { email: stranger.email }),
        await person.api.get(`${path}/events`),
        await person.api.post(`${path}/items`, { name: 'x' }),
        await person.api.get(`${path}/items`),
        await person.api.post(`${path}/items/clear-purchased`),
        await person.api.patch(`/items/${item.id}`, { name: 'x' }),
        await person.api.delete(`/items/${item.id}`),
      ])
        expect(outcome(answer)).toBe('404 not_found')
      expect(await idsSeenBy(person, '')).not.toContain(id)
    }
    expect(await idsSeenBy(tenant.admin, '&scope=all')).not.toContain(id)
  })

  test('deleted=true lists it for those who may restore it, and nobody else', async () => {
    const { id } = await makeList(owner)
    const living = await makeList(owner)
    await join(owner, id, editor)
    await owner.api.delete(`/shopping-lists/${id}`)
    for (const [person, query] of [
      [owner, '&deleted=true'],
      [tenant.admin, '&deleted=true'],
      [tenant.admin, '&deleted=true&scope=all'],
    ] as const) {
      const seen = await idsSeenBy(person, query)
      expect(seen).toContain(id)
      expect(seen).not.toContain(living.id)
    }
    for (const person of [editor, stranger]) expect(await idsSeenBy(person, '&deleted=true')).toEqual([])
    expect(await idsSeenBy(owner, '&deleted=false')).not.toContain(id)
    const { data } = (await owner.api.get('/shopping-lists?deleted=true')).body
    expect(data[0]).toMatchObject({ id, role: 'owner', member_count: 2, deleted_at: expect.any(String) })
  })

  test('only its owner and an admin restore it; all others get 404', async () => {
    const { id } = await makeList(owner)
    await join(owner, id, editor)
    await owner.api.delete(`/shopping-lists/${id}`)
    const restore = (person: Person) => person.api.post(`/shopping-lists/${id}/restore`)
    expect(outcome(await restore(editor))).toBe('404 not_found')
    expect(outcome(await restore(stranger))).toBe('404 not_found')
    expect((await restore(tenant.admin)).status).toBe(200)
    await owner.api.delete(`/shopping-lists/${id}`)
    expect((await restore(owner)).status).toBe(200)
  })

  test('a restored list has its items, members and history, and its seq continues', async () => {
    const { id } = await makeList(owner)
    await join(owner, id, editor)
    await addItem(editor, id, { name: 'Kept' })
    await owner.api.delete(`/shopping-lists/${id}`)
    const restored = await owner.api.post(`/shopping-lists/${id}/restore`)
    expect(restored.body).toMatchObject({ id, deleted_at: null, seq: 4 })
    expect(restored.headers.get('etag')).toBe(`"${restored.body.version}"`)
    const whole = (await editor.api.get(`/shopping-lists/${id}`)).body
    expect(whole).toMatchObject({ role: 'editor', items: [{ name: 'Kept' }] })
    expect(whole.members).toHaveLength(2)
    const events = await eventsOf(editor, id)
    expect(typesOf(events)).toEqual(['member_joined', 'item_added', 'list_deleted', 'list_restored'])
    const [gone, back] = events.slice(2).map((event) => event.payload)
    expect(Object.keys(gone).sort()).toEqual(['list', 'list_id'])
    expect(gone.list).toMatchObject({ id, seq: 3, deleted_at: expect.any(String) })
    expect(back).toEqual({ list_id: id, list: restored.body })
  })

  test('restoring a list that is not deleted changes nothing', async () => {
    const { id } = await makeList(owner)
    const before = (await owner.api.patch(`/shopping-lists/${id}`, { name: 'There' })).body
    const answer = await owner.api.post(`/shopping-lists/${id}/restore`)
    expect([answer.status, answer.body]).toEqual([200, before])
    expect(await eventsOf(owner, id)).toHaveLength(1)
  })
})
