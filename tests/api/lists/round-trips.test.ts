/**
 * Common requests take one round trip to PostgreSQL. A proxy with a delay sits between service and database: whatever
 * is sent before an answer can arrive belongs to the same round trip.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { addItem, makeList, makeTenant, type Person } from '../../support/people.ts'
import { testPostgres } from '../../support/postgres.ts'
import { describeFull, startServer, type TestServer } from '../../support/server.ts'

/** One way. */
const delayMs = 25
const warmUps = 3
const tries = 12

interface DelayProxy {
  port: number
  /** Round trips so far: a send after a receive, on one connection. */
  roundTrips: () => number
  close(): void
}

async function delayProxy(host: string, port: number): Promise<DelayProxy> {
  let roundTrips = 0
  const sockets = new Set<Socket>()
  const server: Server = createServer((client) => {
    const database = connect({ host, port, noDelay: true })
    let answered = true
    const later = (act: () => void) => setTimeout(act, delayMs)
    client.setNoDelay(true)
    client.on('data', (bytes) => {
      if (answered) roundTrips++
      answered = false
      later(() => database.write(bytes))
    })
    database.on('data', (bytes) =>
      later(() => {
        answered = true
        client.write(bytes)
      }),
    )
    for (const [socket, peer] of [
      [client, database],
      [database, client],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => peer.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        peer.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    port: address.port,
    roundTrips: () => roundTrips,
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

describeFull('round trips to the database', () => {
  let proxy: DelayProxy
  let database: { url: string; drop(): Promise<void> }
  let server: TestServer
  let person: Person

  beforeAll(async () => {
    database = await (await testPostgres()).createDatabase()
    const url = new URL(database.url)
    proxy = await delayProxy(url.hostname, Number(url.port || 5432))
    url.host = `127.0.0.1:${proxy.port}`
    server = await startServer('full', { DATABASE_URL: url.href })
    person = (await makeTenant(server)).admin
  })
  afterAll(async () => {
    await server.stop()
    proxy.close()
    await database.drop()
  })

  /** The minimum of several tries, as the service also polls for revocations. */
  const fewest = async (act: (turn: number) => Promise<{ status: number }>): Promise<number> => {
    const counts: number[] = []
    for (let turn = 0; turn < warmUps + tries; turn++) {
      const before = proxy.roundTrips()
      expect((await act(turn)).status).toBeWithin(200, 300)
      if (turn >= warmUps) counts.push(proxy.roundTrips() - before)
    }
    return Math.min(...counts)
  }

  test('reading oneself, a list with its items, adding and changing an item take one each', async () => {
    const { id } = await makeList(person)
    const item = await addItem(person, id)
    const path = `/shopping-lists/${id}`
    expect({
      me: await fewest(() => person.api.get('/auth/me')),
      list: await fewest(() => person.api.get(path)),
      lists: await fewest(() => person.api.get('/shopping-lists')),
      add: await fewest((turn) => person.api.post(`${path}/items`, { name: `${turn}` })),
      'add many': await fewest(() =>
        person.api.post(`${path}/items`, { items: [{ name: 'a' }, { name: 'b' }] }),
      ),
      change: await fewest((turn) => person.api.patch(`/items/${item.id}`, { name: `${turn}` })),
      rename: await fewest((turn) => person.api.patch(path, { name: `${turn}` })),
      events: await fewest(() => person.api.get(`${path}/events?since=3`)),
    }).toEqual({ me: 1, list: 1, lists: 1, add: 1, 'add many': 1, change: 1, rename: 1, events: 1 })
  })
})
