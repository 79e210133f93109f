/** One connection on a fake transport, with its clock controlled by the test. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { AppError } from '../../src/errors.ts'
import { type Connection, createConnection, type Transport } from '../../src/realtime/connection.ts'
import { claimsOf } from '../support/auth.ts'
import { makeList, makeTenant, type Person } from '../support/people.ts'
import { describeService, sharedServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

interface Wire extends Transport {
  sent: { type: string; payload: Record<string, unknown>; id?: string }[]
  closes: number[]
  pings: number
  unsentBytes: number
  topics: Set<string>
}

function wire(): Wire {
  const own: Wire = {
    sent: [],
    closes: [],
    pings: 0,
    unsentBytes: 0,
    topics: new Set(),
    send: (text) => void own.sent.push(JSON.parse(text)),
    close: (code) => void own.closes.push(code),
    ping: () => void own.pings++,
    subscribe: (topic) => void own.topics.add(topic),
    unsubscribe: (topic) => void own.topics.delete(topic),
    unsent: () => own.unsentBytes,
    writable: async () => undefined,
  }
  return own
}

describeService('a connection', (backend) => {
  let server: TestServer
  let ann: Person
  let listId: string
  const opened: Connection[] = []

  beforeAll(async () => {
    server = await sharedServer(backend)
    ann = (await makeTenant(server)).admin
    listId = (await makeList(ann)).id
  })
  afterAll(() => {
    for (const connection of opened) connection.ended()
  })

  const connect = async (transport: Transport, lifeSeconds = 3600): Promise<Connection> => {
    const { deps } = server.running
    const verified = await deps.tokens.read(ann.accessToken)
    const expiresAt = Math.floor(Date.now() / 1000) + lifeSeconds
    const connection = createConnection({ ...deps.live.sockets, log: deps.log }, transport, ann.accessToken, {
      ...verified,
      expiresAt,
    })
    opened.push(connection)
    return connection
  }
  const seconds = (from: number, to: number): number[] =>
    Array.from({ length: to - from + 1 }, (_, index) => from + index)
  /** Ticks as it would if that much time had passed since `begun`, a performance.now(). */
  const tickAfter = (connection: Connection, ms: number, begun = performance.now()): void =>
    connection.tick(Date.now() + begun - performance.now() + ms, begun + ms)

  test('pings every 25 s and closes with 4010 after 60 s without a message', async () => {
    const transport = wire()
    const connection = await connect(transport)
    const begun = performance.now()
    for (const second of seconds(1, 24)) tickAfter(connection, second * 1000, begun)
    expect(transport.pings).toBe(0)
    for (const second of seconds(25, 59)) tickAfter(connection, second * 1000, begun)
    expect(transport.pings).toBe(2)
    expect(transport.closes).toEqual([])
    for (const second of seconds(60, 62)) tickAfter(connection, second * 1000, begun)
    expect(transport.closes).toEqual([4010])
    for (const second of seconds(63, 200)) tickAfter(connection, second * 1000, begun)
    expect([transport.closes, transport.pings]).toEqual([[4010], 2])
  })

  test('a date that jumps is no silence', async () => {
    const transport = wire()
    const connection = await connect(transport, 100_000)
    const jump = 3_600_000
    connection.tick(Date.now() + jump, performance.now())
    connection.receiveControlFrame()
    connection.tick(Date.now() - jump, performance.now())
    connection.tick(Date.now(), performance.now())
    expect([transport.closes, transport.pings]).toEqual([[], 0])
  })

  test.each(['a pong', 'a message'])('%s counts as a sign of life', async (what) => {
    const transport = wire()
    const connection = await connect(transport)
    // Activity is stamped with the real clock: the connection was created, and last active, long before.
    await Bun.sleep(20)
    const heardBefore = performance.now()
    if (what === 'a pong') connection.receiveControlFrame()
    else connection.receive('{"type":"ping"}')
    tickAfter(connection, 60_000, heardBefore)
    expect(transport.closes).toEqual([])
    tickAfter(connection, 60_001)
    expect(transport.closes).toEqual([4010])
  })

  test('sends token_expiring once, 60 s before, and closes with 4001 on the second', async () => {
    const transport = wire()
    const connection = await connect(transport, 100)
    const expiresAt = connection.token.expiresAt * 1000
    const types = () => transport.sent.map(({ type }) => type)
    connection.tick(expiresAt - 60_001, performance.now())
    expect(types()).toEqual(['connected'])
    connection.receiveControlFrame()
    connection.tick(expiresAt - 60_000, performance.now())
    connection.tick(expiresAt - 59_000, performance.now())
    expect(types()).toEqual(['connected', 'token_expiring'])
    expect(transport.sent[1]?.payload).toEqual({ expires_at: new Date(expiresAt).toISOString() })
    const short = wire()
    const other = await connect(short, 30)
    other.tick(other.token.expiresAt * 1000 - 1, performance.now())
    expect(short.closes).toEqual([])
    other.tick(other.token.expiresAt * 1000, performance.now())
    expect(short.closes).toEqual([4001])
  })

  test('is closed with 4013 at the next tick once more than 1 MiB is unsent, and not before', async () => {
    const transport = wire()
    const connection = await connect(transport)
    transport.unsentBytes = 1024 * 1024
    tickAfter(connection, 0)
    expect(transport.closes).toEqual([])
    transport.unsentBytes++
    tickAfter(connection, 0)
    expect(transport.closes).toEqual([4013])
  })

  test('leaves its topics and streams when it ends, also in the middle of a subscription', async () => {
    const { hub } = server.running.deps.live
    const idle = hub.counts().streams
    const transport = wire()
    const connection = await connect(transport)
    connection.receive(JSON.stringify({ type: 'subscribe', payload: { list_id: listId, since: 0 } }))
    await until(() => transport.topics.size === 1)
    expect([connection.subscriptions(), hub.counts().streams]).toEqual([1, idle + 1])
    connection.ended()
    expect([connection.subscriptions(), hub.counts().streams]).toEqual([0, idle])
    const hasty = await connect(wire())
    hasty.receive(JSON.stringify({ type: 'subscribe', payload: { list_id: listId, since: 0 } }))
    hasty.ended()
    await until(() => hub.counts().streams === idle)
  })

  test('bounds its inbound queue', async () => {
    const transport = wire()
    const stuck = Promise.withResolvers<void>()
    const connection = await connect({ ...transport, writable: () => stuck.promise })
    connection.receive(JSON.stringify({ type: 'subscribe', payload: { list_id: listId, since: 0 } }))
    for (let index = 0; index < 1000; index++) connection.receive('{"type":"ping"}')
    expect(transport.closes).toEqual([4008])
    expect(transport.sent.length).toBeLessThan(3)
    stuck.resolve()
  })

  test('that loses the database during a replay resumes once it is back', async () => {
    const { deps } = server.running
    const list = await makeList(ann)
    const transport = wire()
    const gate = Promise.withResolvers<void>()
    let reads = 0
    const { db } = deps.live.sockets
    const flaky = {
      ...db,
      read: async (...given: Parameters<typeof db.read>) => {
        // The first three read the list, its head and its first page; two more fail.
        if (++reads === 4 || reads === 5) await gone()
        return db.read(...given)
      },
    }
    const verified = await deps.tokens.read(ann.accessToken)
    const connection = createConnection(
      { ...deps.live.sockets, db: flaky as typeof db, log: deps.log },
      { ...transport, writable: () => gate.promise },
      ann.accessToken,
      verified,
    )
    opened.push(connection)
    connection.receive(JSON.stringify({ type: 'subscribe', payload: { list_id: list.id, since: 0 } }))
    await until(() => transport.sent.some(({ type }) => type === 'subscribed'))
    await ann.api.post(`/shopping-lists/${list.id}/items`, { name: 'Milk' })
    gate.resolve()
    await until(() => transport.topics.size === 1)
    expect(reads).toBeGreaterThanOrEqual(5)
    expect(transport.sent.map(({ type }) => type)).toEqual(['connected', 'subscribed', 'item_added'])
    expect(transport.closes).toEqual([])
  })

  test('announces when its token expires, to the second of the claim', async () => {
    const transport = wire()
    const { deps } = server.running
    const verified = await deps.tokens.read(ann.accessToken)
    opened.push(
      createConnection({ ...deps.live.sockets, log: deps.log }, transport, ann.accessToken, verified),
    )
    const exp = Number(claimsOf(ann.accessToken)['exp'])
    expect(transport.sent[0]?.payload['expires_at']).toBe(new Date(exp * 1000).toISOString())
  })
})

const gone = (): Promise<never> =>
  Promise.reject(new AppError('database_unavailable', 'The database does not answer.'))
