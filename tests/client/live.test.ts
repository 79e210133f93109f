import { afterAll, beforeAll, expect, test } from 'bun:test'
import { stateOf } from '../../src/client/index.ts'
import { addItem, join, makeList, makeTenant, makeUser, type Person, type Tenant } from '../support/people.ts'
import { type BadNetwork, startProxy } from '../support/proxy.ts'
import { describeBackends, sharedServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'
import { clientOf, comparable, quick, watch } from './setup.ts'

describeBackends('a subscribed list', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person
  let ben: Person
  let proxy: BadNetwork
  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant, { name: 'Ann' })
    ben = await makeUser(server, tenant, { name: 'Ben' })
    proxy = await startProxy(server.url)
  })
  afterAll(() => proxy.stop())

  const snapshot = async (person: Person, listId: string) =>
    comparable(stateOf((await person.api.get(`/shopping-lists/${listId}`)).body))

  /** A list of Ann's that Ben is a member of, and Ben's client behind the proxy. */
  const shared = async (options: Parameters<typeof clientOf>[2] = {}) => {
    const { id } = await makeList(ann)
    await join(ann, id, ben)
    const mart = await clientOf(ben, proxy.url, options)
    const seen = watch(mart, id)
    await seen.reaches(1)
    return { id, mart, seen }
  }

  test("shows others' changes, in order, as the service itself shows them", async () => {
    const { id, mart, seen } = await shared()
    await Promise.all(Array.from({ length: 20 }, (_, n) => addItem(ann, id, { name: `Item ${n}` })))
    const milk = await addItem(ann, id, { name: 'Milk' })
    await ann.api.patch(`/items/${milk.id}`, { status: 'purchased' })
    await ann.api.patch(`/shopping-lists/${id}`, { name: 'Weekend' })
    const state = await seen.reaches(24)
    expect(comparable(state)).toEqual(await snapshot(ben, id))
    expect(state.list.name).toBe('Weekend')
    expect(seen.events.map(({ seq }) => seq)).toEqual(Array.from({ length: 23 }, (_, n) => n + 2))
    mart.close()
  })

  test('misses nothing when connections break while others write', async () => {
    const { id, mart, seen } = await shared()
    const writing = (async () => {
      for (let n = 0; n < 60; n++) await addItem(ann, id, { name: `Item ${n}` })
    })()
    for (let n = 0; n < 5; n++) {
      await until(() => seen.events.length > n * 8, 'some events')
      proxy.cut()
    }
    await writing
    expect(comparable(await seen.reaches(61))).toEqual(await snapshot(ben, id))
    expect(seen.events.map(({ seq }) => seq)).toEqual(Array.from({ length: 60 }, (_, n) => n + 2))
    expect(seen.statuses).toContain('offline')
    mart.close()
  })

  test('catches up in few steps after an outage of the network', async () => {
    const { id, mart, seen } = await shared()
    proxy.offline()
    await seen.becomes('offline')
    for (let n = 0; n < 6; n++)
      await ann.api.post(`/shopping-lists/${id}/items`, {
        items: Array.from({ length: 100 }, (_, m) => ({ name: `Item ${n} ${m}` })),
      })
    const before = seen.states.length
    proxy.online()
    mart.wake()
    expect(comparable(await seen.reaches(601))).toEqual(await snapshot(ben, id))
    expect(seen.states.length - before).toBeLessThanOrEqual(5)
    mart.close()
  })

  test('notices a connection that died silently', async () => {
    const { id, mart, seen } = await shared()
    const opened = proxy.accepted()
    proxy.hold()
    await addItem(ann, id)
    await seen.becomes('offline')
    proxy.flow()
    await seen.reaches(2)
    expect(proxy.accepted()).toBeGreaterThan(opened)
    mart.close()
  })

  test('recovers from a half-closed connection', async () => {
    for (const side of ['client', 'server'] as const) {
      const { id, mart, seen } = await shared()
      proxy.halfClose(side)
      await addItem(ann, id)
      await seen.reaches(2)
      mart.close()
    }
  })

  test('is right on a slow network, where responses and events overlap', async () => {
    const { id, mart } = await shared()
    mart.close()
    proxy.delay(60)
    const slow = await clientOf(ben, proxy.url, { timing: { ...quick, pongMs: 3000 } })
    const seen = watch(slow, id)
    for (let n = 0; n < 15; n++) await addItem(ann, id, { name: `Item ${n}` })
    expect(comparable(await seen.reaches(16))).toEqual(await snapshot(ben, id))
    proxy.delay(0)
    slow.close()
  })

  test('ends with the reason when the list is deleted', async () => {
    const { id, mart, seen } = await shared()
    await ann.api.delete(`/shopping-lists/${id}`)
    expect(await seen.becomes('ended')).toEqual({ phase: 'ended', reason: 'deleted' })
    expect(seen.events.at(-1)?.type).toBe('list_deleted')
    mart.close()
  })

  test('ends for a removed member, and for no one else', async () => {
    const { id, mart, seen } = await shared()
    const mine = watch(await clientOf(ann, server.url), id)
    await mine.reaches(1)
    await ann.api.delete(`/shopping-lists/${id}/members/${ben.id}`)
    expect(await seen.becomes('ended')).toEqual({ phase: 'ended', reason: 'removed' })
    const state = await mine.reaches(2)
    expect(state.members.map(({ user_id }) => user_id)).toEqual([ann.id])
    expect(mine.status().phase).toBe('live')
    mine.close()
    mart.close()
  })

  test('ends for a member who leaves', async () => {
    const { id, mart, seen } = await shared()
    await mart.members.delete(id, ben.id)
    expect(await seen.becomes('ended')).toEqual({ phase: 'ended', reason: 'left' })
    mart.close()
  })

  test('ends when the list was deleted during an outage of the network', async () => {
    const { id, mart, seen } = await shared()
    proxy.offline()
    await seen.becomes('offline')
    await ann.api.delete(`/shopping-lists/${id}/members/${ben.id}`)
    proxy.online()
    expect(await seen.becomes('ended')).toEqual({ phase: 'ended', reason: 'not_found' })
    mart.close()
  })

  test('ends immediately for a list that does not exist', async () => {
    const mart = await clientOf(ben, server.url)
    const seen = watch(mart, crypto.randomUUID())
    expect(await seen.becomes('ended')).toEqual({ phase: 'ended', reason: 'not_found' })
    mart.close()
  })

  test('continues for an admin who is no longer a member', async () => {
    const { id } = await makeList(ann)
    await join(ann, id, tenant.admin)
    const mart = await clientOf(tenant.admin, server.url)
    const seen = watch(mart, id)
    expect((await seen.reaches(1)).role).toBe('editor')
    await ann.api.delete(`/shopping-lists/${id}/members/${tenant.admin.id}`)
    await addItem(ann, id)
    expect((await seen.reaches(3)).role).toBe('tenant_admin')
    expect(comparable(seen.state())).toEqual(await snapshot(tenant.admin, id))
    mart.close()
  })

  test('shares one socket with all others, and closes it after the last', async () => {
    const mart = await clientOf(ann, proxy.url)
    const lists = await Promise.all(Array.from({ length: 5 }, () => makeList(ann)))
    const sockets = () => server.running.deps.live.sockets.counts()
    const before = sockets()
    const seen = [...lists, ...lists].map(({ id }) => watch(mart, id))
    await Promise.all(seen.map((each) => each.becomes('live')))
    expect(sockets()).toEqual({ sockets: before.sockets + 1, subscriptions: before.subscriptions + 5 })
    for (const each of seen) each.close()
    await until(() => sockets().sockets === before.sockets, 'the end of the socket')
  })
})
