/** The service stops: its sockets are closed for a reconnect; and its metrics meanwhile. */
import { afterEach, expect, test } from 'bun:test'
import { addItem, makeList, makeTenant, makeUser } from '../support/people.ts'
import {
  describeBackends,
  sharedServer,
  startInstance,
  startServer,
  type TestServer,
} from '../support/server.ts'
import { closeCode, closeSockets, openSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

const metricsOf = async ({ url }: TestServer): Promise<(name: string) => number> => {
  const text = await (await fetch(`${url}/metrics`)).text()
  return (name) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN)
}

describeBackends('a server', (backend) => {
  afterEach(closeSockets)

  test('that stops closes every socket with 1012, and all resume elsewhere without loss', async () => {
    const home = await sharedServer(backend)
    const server = backend === 'full' ? await startInstance(home) : await startServer(backend)
    const tenant = await makeTenant(server)
    const ann = await makeUser(server, tenant)
    const { id } = await makeList(ann)
    const sockets = await Promise.all(Array.from({ length: 190 }, () => openSocket(server, ann.accessToken)))
    await Promise.all(sockets.map((socket) => socket.follow(id)))
    await addItem(ann, id)
    await until(() => sockets.every((socket) => socket.seqs(id).length === 1))
    const begun = performance.now()
    const stopped = server.stop()
    const codes = await Promise.all(sockets.map((socket) => closeCode(socket)))
    expect([...new Set(codes)]).toEqual([1012])
    await stopped
    expect(performance.now() - begun).toBeLessThan(5000)
    if (backend === 'full') {
      const back = await openSocket(home, ann.accessToken)
      expect((await back.follow(id, 0)).payload).toMatchObject({ seq: 1, recovered: true })
      await until(() => back.seqs(id).length === 1)
    }
  })

  test('counts sockets, subscriptions, streams and events', async () => {
    const server = await startServer(backend)
    try {
      const tenant = await makeTenant(server)
      const ann = await makeUser(server, tenant)
      const { id } = await makeList(ann)
      const lists = [id, (await makeList(ann)).id]
      const sockets = await Promise.all([1, 2, 3].map(() => openSocket(server, ann.accessToken)))
      for (const socket of sockets) for (const list of lists) await socket.follow(list)
      for (let item = 0; item < 5; item++) await addItem(ann, id)
      await until(() => sockets.every((socket) => socket.seqs(id).length === 5))
      const open = await metricsOf(server)
      expect(open('minimart_sockets')).toBe(3)
      expect(open('minimart_subscriptions')).toBe(6)
      expect(open('minimart_streams')).toBe(2)
      expect(open('minimart_events_published_total')).toBe(5)
      expect(open('minimart_events_delivered_total')).toBe(15)
      expect(open('minimart_events_healed_total')).toBe(0)
      expect(open('minimart_event_delivery_seconds_count')).toBe(5)
      expect(open('minimart_event_delivery_seconds_sum')).toBeLessThan(5)
      closeSockets()
      await until(async () => (await metricsOf(server))('minimart_sockets') === 0)
      const closed = await metricsOf(server)
      expect(closed('minimart_subscriptions')).toBe(0)
      expect(closed('minimart_streams')).toBe(0)
    } finally {
      await server.stop()
    }
  })
})
