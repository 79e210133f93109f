/** A list's history from GET …/events. */
import { beforeAll, expect, test } from 'bun:test'
import postgres from 'postgres'
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
import { describeBackends, describeFull, sharedServer, type TestServer } from '../../support/server.ts'

/** The payload's fields by type, besides list_id. */
const payloads: Record<string, string[]> = {
  item_added: ['item'],
  item_updated: ['changed', 'item'],
  item_deleted: ['item_id'],
  member_joined: ['member'],
  member_updated: ['member'],
  member_left: ['user_id'],
  member_removed: ['user_id'],
  list_updated: ['list'],
  list_deleted: ['list'],
  list_restored: ['list'],
}

const whole: Record<string, string> = {
  item:
    'added_by category created_at id list_id name note position purchased_at purchased_by quantity status unit ' +
    'updated_at updated_by version',
  member: 'email full_name joined_at role user_id',
  list: 'created_at deleted_at description id name owner_id seq updated_at version',
}

describeBackends('events', (backend) => {
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

  const listWithItems = async (count: number): Promise<string> => {
    const { id } = await makeList(ann)
    const items = Array.from({ length: count }, (_, index) => ({ name: `${index}` }))
    await ann.api.post(`/shopping-lists/${id}/items`, { items })
    return id
  }
  const reading = (listId: string, query = '', person = ann) =>
    person.api.get(`/shopping-lists/${listId}/events${query}`)

  test('every change of a list is an event of its type and shape, numbered without gaps', async () => {
    const { id } = await makeList(ann)
    await join(ann, id, ben)
    const item = await addItem(ben, id)
    await ben.api.patch(`/items/${item.id}`, { status: 'purchased' })
    await ann.api.delete(`/items/${item.id}`)
    await ann.api.patch(`/shopping-lists/${id}/members/${ben.id}`, { role: 'viewer' })
    await ben.api.delete(`/shopping-lists/${id}/members/${ben.id}`)
    await join(ann, id, ben)
    await ann.api.delete(`/shopping-lists/${id}/members/${ben.id}`)
    await ann.api.patch(`/shopping-lists/${id}`, { name: 'New' })
    await ann.api.delete(`/shopping-lists/${id}`)
    await ann.api.post(`/shopping-lists/${id}/restore`)
    const events = await eventsOf(ann, id)
    expect(typesOf(events)).toEqual([
      ...['member_joined', 'item_added', 'item_updated', 'item_deleted', 'member_updated', 'member_left'],
      ...['member_joined', 'member_removed', 'list_updated', 'list_deleted', 'list_restored'],
    ])
    expect(Object.keys(payloads).filter((type) => !typesOf(events).includes(type))).toEqual([])
    for (const event of events) {
      expect(Object.keys(event).sort()).toEqual([
        'action_id',
        'actor_id',
        'at',
        'payload',
        'position',
        'seq',
        'type',
      ])
      expect(Object.keys(event.payload).sort()).toEqual([...(payloads[event.type] ?? []), 'list_id'].sort())
      expect(event.payload.list_id).toBe(id)
      expect(event.at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      for (const [name, fields] of Object.entries(whole))
        if (name in event.payload) expect(Object.keys(event.payload[name]).sort().join(' ')).toBe(fields)
    }
    expect(events.map((event) => event.at)).toEqual(events.map((event) => event.at).toSorted())
  })

  test("the list in a list event has that event's own seq", async () => {
    const id = await listWithItems(3)
    await ann.api.patch(`/shopping-lists/${id}`, { name: 'x' })
    const [event] = await eventsOf(ann, id, 3)
    expect(event).toMatchObject({ seq: 4, payload: { list: { seq: 4, version: 2 } } })
  })

  test('pages hold up to limit events, 50 by default, and complete says whether the last one is included', async () => {
    const id = await listWithItems(120)
    const page = async (query: string) => {
      const { body } = await reading(id, query)
      const seqs = body.data.map((event: { seq: number }) => event.seq)
      return [seqs.length, seqs[0], seqs.at(-1), body.seq, body.complete]
    }
    expect(await page('')).toEqual([50, 1, 50, 120, false])
    expect(await page('?since=0&limit=100')).toEqual([100, 1, 100, 120, false])
    expect(await page('?since=100')).toEqual([20, 101, 120, 120, true])
    expect(await page('?since=100&limit=20')).toEqual([20, 101, 120, 120, true])
    expect(await page('?since=100&limit=19')).toEqual([19, 101, 119, 120, false])
    expect(await page('?since=120')).toEqual([0, undefined, undefined, 120, true])
    expect((await eventsOf(ann, id)).map((event) => event.seq)).toEqual(
      Array.from({ length: 120 }, (_, n) => n + 1),
    )
  })

  test('a reader ahead of the list gets an error', async () => {
    const id = await listWithItems(2)
    expect((await reading(id, '?since=3')).body).toMatchObject({ data: [], seq: 2, complete: false })
    expect((await reading(id, `?since=${Number.MAX_SAFE_INTEGER}`)).body.complete).toBe(false)
    const fresh = await makeList(ann)
    expect((await reading(fresh.id)).body).toEqual({ data: [], seq: 0, position: '0', complete: true })
  })

  test('since and limit must be integers', async () => {
    const id = await listWithItems(1)
    for (const [query, field] of [
      ...['-1', '1.5', 'x', '', '1e3', '9007199254740993'].map((since) => [`?since=${since}`, 'since']),
      ...['0', '101', 'x', ''].map((limit) => [`?limit=${limit}`, 'limit']),
    ] as const) {
      const answer = await reading(id, query)
      expect([query, outcome(answer), refusedFields(answer)]).toEqual([
        query ?? '',
        '422 invalid',
        [field ?? ''],
      ])
    }
  })

  test('only those who see the list see its history', async () => {
    const id = await listWithItems(1)
    expect(outcome(await reading(id, '', ben))).toBe('404 not_found')
    await join(ann, id, ben, 'viewer')
    for (const person of [ben, tenant.admin]) expect(await eventsOf(person, id)).toHaveLength(2)
    await ben.api.delete(`/shopping-lists/${id}/members/${ben.id}`)
    expect(outcome(await reading(id, '', ben))).toBe('404 not_found')
  })

  test('a refused change leaves no event', async () => {
    const { id } = await makeList(ann)
    const chosen = Bun.randomUUIDv7()
    await addItem(ann, id, { name: 'x', id: chosen })
    await ann.api.patch(`/items/${chosen}`, { name: 'y' }, { headers: { 'if-match': '"9"' } })
    await tenant.admin.api.post(`/shopping-lists/${id}/items`, {
      items: [{ name: 'a' }, { name: 'x', id: chosen }],
    })
    await ann.api.delete(`/shopping-lists/${id}/members/${ann.id}`)
    await ben.api.post(`/shopping-lists/${id}/items`, { name: 'z' })
    expect(await eventsOf(ann, id)).toHaveLength(1)
  })
})

describeFull('expired events', () => {
  test('a reader who is behind the oldest kept event gets 410, later ones read on', async () => {
    const server = await sharedServer('full')
    const { admin } = await makeTenant(server)
    const { id } = await makeList(admin)
    const items = Array.from({ length: 10 }, (_, index) => ({ name: `${index}` }))
    await admin.api.post(`/shopping-lists/${id}/items`, { items })
    const database = postgres(server.environment['DATABASE_URL'] ?? '', { max: 1 })
    const read = (since: number) => admin.api.get(`/shopping-lists/${id}/events?since=${since}`)
    const forget = (upTo: number) =>
      database`delete from list_events where list_id = ${id} and seq <= ${upTo}`
    try {
      await forget(4)
      for (const since of [0, 3]) expect(outcome(await read(since))).toBe('410 events_expired')
      const kept = (await read(4)).body
      expect([kept.data.length, kept.data[0].seq, kept.seq, kept.complete]).toEqual([6, 5, 10, true])
      await forget(10)
      expect(outcome(await read(9))).toBe('410 events_expired')
      expect((await read(10)).body).toMatchObject({ data: [], seq: 10, complete: true })
      await addItem(admin, id)
      expect((await eventsOf(admin, id, 10)).map((event) => event.seq)).toEqual([11])
    } finally {
      await database.end({ timeout: 2 })
    }
  })
})
