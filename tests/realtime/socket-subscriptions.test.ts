/** Subscribing and unsubscribing: where a subscription starts, what it returns, and who is refused. */
import { afterEach, beforeAll, expect, test } from 'bun:test'
import postgres from 'postgres'
import { addItem, join, makeList, makeTenant, makeUser, type Person, type Tenant } from '../support/people.ts'
import { describeBackends, describeFull, sharedServer, type TestServer } from '../support/server.ts'
import { closeSockets, openSocket, type TestSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index)

const listWith = async (person: Person, count: number): Promise<string> => {
  const { id } = await makeList(person)
  for (let made = 0; made < count; made += 200) {
    const items = Array.from({ length: Math.min(200, count - made) }, (_, index) => ({
      name: `${made + index}`,
    }))
    expect((await person.api.post(`/shopping-lists/${id}/items`, { items })).status).toBe(201)
  }
  return id
}

const types = (socket: TestSocket): string[] => socket.messages.map(({ type }) => type)

describeBackends('a subscription', (backend) => {
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
  afterEach(closeSockets)

  test('without since delivers events from the sequence number it names, and nothing older', async () => {
    const id = await listWith(ann, 3)
    const socket = await openSocket(server, ann.accessToken)
    expect(await socket.follow(id)).toEqual({
      type: 'subscribed',
      payload: { list_id: id, seq: 3, position: expect.any(String), recovered: false },
    })
    await addItem(ann, id)
    expect((await socket.next('item_added')).seq).toBe(4)
    expect(socket.seqs(id)).toEqual([4])
  })

  test.each([
    [0, 1],
    [1, 2],
    [4, 5],
  ])('with since %i replays from %i on, then continues live', async (since, first) => {
    const id = await listWith(ann, 5)
    const socket = await openSocket(server, ann.accessToken)
    expect((await socket.follow(id, since)).payload).toMatchObject({ list_id: id, seq: 5, recovered: true })
    await addItem(ann, id)
    await until(() => socket.seqs(id).includes(6))
    expect(socket.seqs(id)).toEqual(numbers(first, 6))
  })

  test('with since at the head has nothing to replay and is recovered', async () => {
    for (const count of [0, 5]) {
      const id = await listWith(ann, count)
      const socket = await openSocket(server, ann.accessToken)
      expect((await socket.follow(id, count)).payload).toMatchObject({
        list_id: id,
        seq: count,
        recovered: true,
      })
      await socket.settled()
      expect(types(socket)).toEqual(['connected', 'subscribed', 'pong'])
      await addItem(ann, id)
      expect((await socket.next('item_added')).seq).toBe(count + 1)
    }
  })

  test('with since beyond the head requires a resync, then gets later events', async () => {
    const id = await listWith(ann, 2)
    for (const since of [3, 1000, Number.MAX_SAFE_INTEGER]) {
      const socket = await openSocket(server, ann.accessToken)
      expect((await socket.follow(id, since)).payload).toMatchObject({
        list_id: id,
        seq: 2,
        recovered: false,
      })
      await socket.settled()
      expect(types(socket)).toEqual(['connected', 'subscribed', 'resync_required', 'pong'])
      expect(socket.messages[2]).toMatchObject({ type: 'resync_required', payload: { list_id: id, seq: 2 } })
    }
    const socket = await openSocket(server, ann.accessToken)
    await socket.follow(id, 1000)
    await addItem(ann, id)
    expect((await socket.next('item_added')).seq).toBe(3)
  })

  test('replays a long history over many pages, in order and once', async () => {
    const id = await listWith(ann, 1800)
    const socket = await openSocket(server, ann.accessToken)
    await socket.follow(id, 7)
    await until(() => socket.seqs(id).length >= 1793)
    await socket.settled()
    expect(socket.seqs(id)).toEqual(numbers(8, 1800))
  })

  test('made again restarts from its own since, without duplicating live events', async () => {
    const id = await listWith(ann, 2)
    const socket = await openSocket(server, ann.accessToken)
    await socket.follow(id)
    await socket.follow(id)
    expect((await socket.follow(id, 1)).payload.recovered).toBe(true)
    await addItem(ann, id)
    await until(() => socket.seqs(id).includes(3))
    await socket.settled()
    expect(socket.seqs(id)).toEqual([2, 3])
  })

  test('ends with unsubscribe, also twice and for a list never subscribed to', async () => {
    const id = await listWith(ann, 0)
    const socket = await openSocket(server, ann.accessToken)
    await socket.follow(id)
    for (const listId of [id, id, crypto.randomUUID()]) {
      socket.send('unsubscribe', { list_id: listId })
      expect(await socket.next('unsubscribed')).toEqual({
        type: 'unsubscribed',
        payload: { list_id: listId },
      })
    }
    const witness = await openSocket(server, ann.accessToken)
    await witness.follow(id)
    await addItem(ann, id)
    await witness.next('item_added')
    await socket.settled()
    expect(socket.events(id)).toEqual([])
  })

  test('an id in upper case is the same list', async () => {
    const id = await listWith(ann, 0)
    const socket = await openSocket(server, ann.accessToken)
    expect((await socket.follow(id.toUpperCase())).payload.list_id).toBe(id)
    socket.send('unsubscribe', { list_id: id.toUpperCase() })
    expect((await socket.next('unsubscribed')).payload.list_id).toBe(id)
    await addItem(ann, id)
    await socket.settled()
    expect(socket.events(id)).toEqual([])
  })

  test('the 101st is refused until one of the hundred ends', async () => {
    const lists = await Promise.all(Array.from({ length: 100 }, () => listWith(ann, 0)))
    lists.push(await listWith(ann, 0))
    const [first = '', ...more] = lists
    const last = more.at(-1) ?? ''
    const socket = await openSocket(server, ann.accessToken)
    for (const id of lists.slice(0, 100)) await socket.follow(id)
    socket.send('subscribe', { list_id: last }, 'too many')
    const refused = await socket.next('error')
    expect(refused).toMatchObject({
      id: 'too many',
      payload: { code: 'too_many_subscriptions', list_id: last },
    })
    // Subscribing again to a current one does not count.
    await socket.follow(first)
    socket.send('unsubscribe', { list_id: first })
    await socket.follow(last)
    await Promise.all([first, more[0] ?? '', last].map((id) => addItem(ann, id)))
    await until(() => socket.messages.filter(({ seq }) => seq === 1).length === 2)
    expect(socket.seqs(first)).toEqual([])
  })

  test("a list that is missing, not the caller's, deleted or another tenant's looks the same", async () => {
    const stranger = await makeUser(server, await makeTenant(server), { name: 'stranger' })
    const gone = await listWith(ann, 1)
    await ann.api.delete(`/shopping-lists/${gone}`)
    const lists = [
      crypto.randomUUID(),
      (await makeList(ben)).id,
      (await makeList(stranger)).id,
      gone,
      ann.id,
      tenant.id,
    ]
    const socket = await openSocket(server, ann.accessToken)
    for (const since of [undefined, 0, 99])
      for (const id of lists) {
        socket.send('subscribe', { list_id: id, ...(since === undefined ? {} : { since }) })
        const { payload } = await socket.next('error')
        expect(payload).toEqual({ code: 'not_found', message: expect.any(String), list_id: id })
      }
    expect(new Set(socket.messages.slice(1).map(({ payload }) => payload.message)).size).toBe(1)
    await addItem(ben, lists[1] ?? '')
    await addItem(stranger, lists[2] ?? '')
    await socket.settled()
    expect(socket.messages.filter(({ seq }) => seq !== undefined)).toEqual([])
  })

  test('viewers and the tenant’s admin may subscribe to a list, others in the tenant may not', async () => {
    const { id } = await makeList(ann)
    await join(ann, id, ben, 'viewer')
    for (const person of [ben, tenant.admin]) {
      const socket = await openSocket(server, person.accessToken)
      expect((await socket.follow(id, 0)).payload.recovered).toBe(true)
      await until(() => socket.seqs(id).includes(1))
    }
  })
})

describeFull('a subscription whose history has expired', () => {
  afterEach(closeSockets)

  test('requires a resync, then gets later events; what is still kept is replayed', async () => {
    const server = await sharedServer('full')
    const tenant = await makeTenant(server)
    const ann = tenant.admin
    const id = await listWith(ann, 10)
    const sql = postgres(server.environment['DATABASE_URL'] ?? '', { max: 1, onnotice: () => undefined })
    try {
      await sql`delete from list_events where list_id = ${id} and seq <= 4`
    } finally {
      await sql.end()
    }
    for (const since of [0, 3]) {
      const socket = await openSocket(server, ann.accessToken)
      expect((await socket.follow(id, since)).payload).toMatchObject({
        list_id: id,
        seq: 10,
        recovered: false,
      })
      await socket.settled()
      expect(types(socket)).toEqual(['connected', 'subscribed', 'resync_required', 'pong'])
      expect(socket.messages[2]?.payload).toMatchObject({ list_id: id, seq: 10 })
    }
    const resynced = await openSocket(server, ann.accessToken)
    await resynced.follow(id, 0)
    const recovered = await openSocket(server, ann.accessToken)
    expect((await recovered.follow(id, 4)).payload.recovered).toBe(true)
    await addItem(ann, id)
    await until(() => resynced.seqs(id).length > 0 && recovered.seqs(id).length > 6)
    expect(resynced.seqs(id)).toEqual([11])
    expect(recovered.seqs(id)).toEqual(numbers(5, 11))
  })
})
