/** Subscribers receive every kind of event, everyone on the list, until their membership ends. */
import { afterEach, beforeAll, expect, test } from 'bun:test'
import { eventsOf, typesOf } from '../support/history.ts'
import { addItem, join, makeList, makeTenant, makeUser, type Person, type Tenant } from '../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../support/server.ts'
import { closeSockets, openSocket, type TestSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

describeBackends('events on the socket', (backend) => {
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

  const remove = (id: string, person: Person, by = ann) =>
    by.api.delete(`/shopping-lists/${id}/members/${person.id}`)
  /** Adds items from several callers concurrently until stopped, or until the list is gone. */
  const hammer = (id: string): { stop(): Promise<void> } => {
    let stopped = false
    const loops = Array.from({ length: 4 }, async () => {
      while (!stopped) {
        const { status } = await ann.api.post(`/shopping-lists/${id}/items`, { name: 'Milk' })
        if (status === 404) return
        expect(status).toBe(201)
      }
    })
    return {
      async stop() {
        stopped = true
        await Promise.all(loops)
      },
    }
  }
  /** The list's events and what ends them, without answers to pings. */
  const received = (socket: TestSocket): string[] =>
    socket.messages.slice(1).flatMap(({ type }) => (type === 'pong' ? [] : [type]))

  test('every kind of event arrives live, and by replay, exactly as GET …/events returns it', async () => {
    const { id } = await makeList(ann)
    // The owner and the tenant's admin may subscribe again after its deletion.
    const live = await openSocket(server, tenant.admin.accessToken)
    await live.follow(id)
    await join(ann, id, ben)
    const item = await addItem(ben, id, { name: 'Milk', note: 'ünïcødé "🛒" \n', quantity: 1.25 })
    await ben.api.patch(`/items/${item.id}`, { status: 'purchased', note: null })
    await ann.api.post(`/shopping-lists/${id}/items`, { items: [{ name: 'a' }, { name: 'b' }] })
    await ann.api.post(`/shopping-lists/${id}/items/clear-purchased`)
    await ann.api.patch(`/shopping-lists/${id}/members/${ben.id}`, { role: 'viewer' })
    await ben.api.delete(`/shopping-lists/${id}/members/${ben.id}`)
    await join(ann, id, ben)
    await remove(id, ben)
    await join(ann, id, ben)
    await ann.api.patch(`/shopping-lists/${id}/members/${ben.id}`, { role: 'owner' })
    await ben.api.patch(`/shopping-lists/${id}`, { name: 'New', description: 'x' })
    await ben.api.delete(`/shopping-lists/${id}`)
    await live.next('unsubscribed')
    expect((await ben.api.post(`/shopping-lists/${id}/restore`)).status).toBe(200)
    await live.follow(id, live.seqs(id).at(-1) ?? 0)
    await addItem(ann, id)

    const stored = await eventsOf(ann, id)
    expect(new Set(typesOf(stored)).size).toBe(10)
    await until(() => live.seqs(id).length === stored.length)
    const replayed = await openSocket(server, ann.accessToken)
    await replayed.follow(id, 0)
    await until(() => replayed.seqs(id).length >= stored.length)
    expect(live.events(id)).toEqual(stored)
    expect(replayed.events(id)).toEqual(stored)
    for (const event of live.events(id)) {
      expect(Object.keys(event)).toEqual([
        'type',
        'payload',
        'seq',
        'position',
        'action_id',
        'at',
        'actor_id',
      ])
      expect(event.payload.list_id).toBe(id)
    }
  })

  test('everyone on a list receives an event, its author too, and no one on another list', async () => {
    const [{ id }, other] = [await makeList(ann), await makeList(ann)]
    await join(ann, id, ben)
    const sockets = await Promise.all(
      [ann, ann, ben, tenant.admin].map((person) => openSocket(server, person.accessToken)),
    )
    const elsewhere = await openSocket(server, ann.accessToken)
    await elsewhere.follow(other.id)
    for (const socket of sockets) await socket.follow(id)
    const item = await addItem(ben, id)
    for (const socket of sockets) {
      const event = await socket.next('item_added')
      expect(event).toMatchObject({
        seq: 2,
        actor_id: ben.id,
        payload: { list_id: id, item: { id: item.id } },
      })
    }
    await elsewhere.settled()
    expect(elsewhere.events(id)).toEqual([])
  })

  test('a change that changes nothing, or is refused, makes no event', async () => {
    const { id } = await makeList(ann)
    const item = await addItem(ann, id, { name: 'Milk' })
    const socket = await openSocket(server, ann.accessToken)
    await socket.follow(id)
    expect((await ann.api.patch(`/items/${item.id}`, { name: 'Milk' })).status).toBe(200)
    expect((await ann.api.patch(`/items/${item.id}`, { quantity: -1 })).status).toBe(422)
    expect((await ben.api.patch(`/items/${item.id}`, { name: 'Tea' })).status).toBe(404)
    await addItem(ann, id)
    await socket.next('item_added')
    expect(socket.seqs(id)).toEqual([2])
  })

  const endings: Record<string, (id: string) => Promise<unknown>> = {
    member_removed: (id) => remove(id, ben),
    member_left: (id) => ben.api.delete(`/shopping-lists/${id}/members/${ben.id}`),
    list_deleted: (id) => ann.api.delete(`/shopping-lists/${id}`),
  }
  for (const [type, end] of Object.entries(endings))
    test(`${type}, with writers at work, is the last event its reader gets, then unsubscribed`, async () => {
      const { id } = await makeList(ann)
      await join(ann, id, ben)
      const sockets = await Promise.all([1, 2].map(() => openSocket(server, ben.accessToken)))
      const witness = await openSocket(server, tenant.admin.accessToken)
      for (const socket of [...sockets, witness]) await socket.follow(id)
      const writers = hammer(id)
      await until(() => witness.seqs(id).length > 20)
      await end(id)
      await until(() => sockets.every((socket) => received(socket).includes('unsubscribed')))
      const seen = witness.seqs(id).length
      if (type !== 'list_deleted') await until(() => witness.seqs(id).length > seen + 10)
      await writers.stop()
      for (const socket of sockets) {
        await socket.settled()
        expect(received(socket).slice(-2)).toEqual([type, 'unsubscribed'])
        expect(received(socket).filter((name) => name === type || name === 'unsubscribed')).toHaveLength(2)
        const seqs = socket.seqs(id)
        expect(seqs).toEqual(seqs.map((_, index) => 2 + index))
        socket.send('subscribe', { list_id: id })
        expect((await socket.next('error')).payload.code).toBe('not_found')
      }
      if (type !== 'list_deleted') expect(received(witness)).not.toContain('unsubscribed')
      else expect(received(witness).slice(-2)).toEqual([type, 'unsubscribed'])
    })

  test('a new member can subscribe immediately, and a returning one receives everything', async () => {
    const { id } = await makeList(ann)
    const socket = await openSocket(server, ben.accessToken)
    for (let round = 0; round < 5; round++) {
      await join(ann, id, ben)
      expect((await socket.follow(id, 0)).payload).toMatchObject({ recovered: true, seq: 2 * round + 1 })
      await remove(id, ben)
      await socket.next('unsubscribed')
    }
    const stored = await eventsOf(ann, id)
    expect(socket.events(id).slice(-stored.length)).toEqual(stored)
  })

  test('a member removed during a long replay receives the removal, and nothing after it', async () => {
    const { id } = await makeList(ann)
    await join(ann, id, ben)
    const items = Array.from({ length: 200 }, () => ({ name: 'x', note: 'n'.repeat(500) }))
    for (let batch = 0; batch < 10; batch++) await ann.api.post(`/shopping-lists/${id}/items`, { items })
    const sockets = await Promise.all(Array.from({ length: 4 }, () => openSocket(server, ben.accessToken)))
    for (const socket of sockets) socket.send('subscribe', { list_id: id, since: 0 })
    await until(() => sockets.every((socket) => socket.messages.length > 2))
    const removed = remove(id, ben)
    await Promise.all([removed, ...Array.from({ length: 20 }, () => addItem(ann, id))])
    const stored = await eventsOf(ann, id)
    const last = stored.find(({ type }) => type === 'member_removed')?.seq ?? 0
    for (const socket of sockets) {
      await socket.next('unsubscribed')
      await socket.settled()
      expect(received(socket).slice(-2)).toEqual(['member_removed', 'unsubscribed'])
      expect(socket.seqs(id)).toEqual(Array.from({ length: last }, (_, index) => index + 1))
    }
  })

  test('a member demoted to viewer keeps receiving events', async () => {
    const { id } = await makeList(ann)
    await join(ann, id, ben)
    const socket = await openSocket(server, ben.accessToken)
    await socket.follow(id)
    await ann.api.patch(`/shopping-lists/${id}/members/${ben.id}`, { role: 'viewer' })
    await addItem(ann, id)
    await until(() => socket.seqs(id).length === 2)
    expect(received(socket)).toEqual(['subscribed', 'member_updated', 'item_added'])
  })
})
