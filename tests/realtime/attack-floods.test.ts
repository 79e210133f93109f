/** Floods: whatever is sent, requested, opened or left unread is bounded, and other users are not affected. */
import { afterEach, beforeAll, expect, test } from 'bun:test'
import type { VerifiedToken } from '../../src/access/access-tokens.ts'
import { type Connection, createConnection } from '../../src/realtime/connection.ts'
import { limits } from '../../src/realtime/limits.ts'
import { addItem, join, makeList, makeTenant, makeUser, type Person } from '../support/people.ts'
import { closeRawSockets, frame, opcodes, openRaw, startRaw, textFrame } from '../support/raw-socket.ts'
import { describeBackends, sharedServer, type TestServer } from '../support/server.ts'
import { closeSockets, openSocket, settledCounts, type TestSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

/** A connection that only takes up a slot. */
const heldOpen = (token: VerifiedToken): Connection => ({
  token,
  receive: () => undefined,
  receiveControlFrame: () => undefined,
  tick: () => undefined,
  recheckToken: async () => undefined,
  subscriptions: () => 0,
  ended: () => undefined,
  close: () => undefined,
})

const times = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index))

describeBackends('a flood', (backend) => {
  let server: TestServer
  let ann: Person
  let ben: Person
  let witness: TestSocket
  let witnessed: string

  beforeAll(async () => {
    server = await sharedServer(backend)
    const tenant = await makeTenant(server)
    ann = await makeUser(server, tenant)
    ben = await makeUser(server, tenant)
    witnessed = (await makeList(ben)).id
  })
  afterEach(() => {
    closeSockets()
    closeRawSockets()
  })

  const live = () => server.running.deps.live
  /** Another user, who must notice nothing. Returns the counts with that user's socket open. */
  const watch = async () => {
    witness = await openSocket(server, ben.accessToken)
    await witness.follow(witnessed)
    return settledCounts(server)
  }
  const undisturbed = async (): Promise<void> => {
    const seen = witness.seqs(witnessed).length
    await addItem(ben, witnessed)
    await until(() => witness.seqs(witnessed).length === seen + 1, "the other user's event")
    await witness.settled()
  }

  test.each([
    ['messages', textFrame({ type: 'ping' })],
    ['pings', frame(opcodes.ping)],
    ['pongs', frame(opcodes.pong)],
    ['binary frames', frame(opcodes.binary, 'x')],
    ['messages that are none', textFrame('x')],
  ])('of %s closes its socket with 4008, and affects no one else', async (_what, one) => {
    await watch()
    const socket = await openRaw(server, ann.accessToken)
    socket.write(...times(1000, () => one))
    await until(() => socket.ended(), 'the end')
    expect(socket.closeCode()).toBe(4008)
    expect(socket.frames().length).toBeLessThan(500)
    await undisturbed()
  })

  test('of control frames within the limits is tolerated', async () => {
    const socket = await openRaw(server, ann.accessToken)
    socket.write(...times(150, (index) => frame(index % 2 ? opcodes.ping : opcodes.pong)))
    socket.write(textFrame({ type: 'ping' }))
    await until(() => socket.messages().some(({ type }) => type === 'pong'), 'the answer')
    expect(socket.frames().filter(({ opcode }) => opcode === opcodes.pong)).toHaveLength(75)
  })

  test('of subscribing and unsubscribing leaves nothing behind and loses no event', async () => {
    const before = await watch()
    const lists = await Promise.all(times(5, () => makeList(ann)))
    const churners = await Promise.all(times(4, () => openSocket(server, ann.accessToken)))
    for (const churner of churners)
      for (let turn = 0; turn < 6; turn++)
        for (const { id } of lists)
          for (const type of ['subscribe', 'unsubscribe']) churner.send(type, { list_id: id })
    await Promise.all(churners.map((churner) => churner.settled()))
    for (const churner of churners)
      expect(churner.messages.filter(({ type }) => type === 'subscribed')).toHaveLength(30)
    await undisturbed()
    expect(await settledCounts(server)).toEqual({ ...before, sockets: before.sockets + churners.length })
  })

  test('of refused tokens leaves no socket: each is closed with 4001 and cut off, whether or not it responds', async () => {
    const before = await watch()
    const refused = times(300, (index) => startRaw(server, { path: `/ws?token=${index % 2 ? 'bad' : ''}` }))
    await until(() => refused.every((socket) => socket.ended()), 'the end of all')
    expect(new Set(refused.map((socket) => socket.closeCode()))).toEqual(new Set([4001]))
    expect(await settledCounts(server)).toEqual(before)
    await undisturbed()
  })

  test('of sockets of one user is limited with 429; open sockets and other users keep working', async () => {
    await watch()
    const mine = await openSocket(server, ann.accessToken)
    const token = await server.running.deps.tokens.read(ann.accessToken)
    expect(limits.socketsPerUser).toBe(200)
    const held = times(limits.socketsPerUser - 1, () => heldOpen(token))
    for (const one of held) live().sockets.add(one)
    const path = `/ws?token=${ann.accessToken}`
    const refused = startRaw(server, { path })
    await until(() => refused.ended() || refused.body() !== '', 'the refusal')
    expect(refused.status()).toBe(429)
    expect(refused.head().toLowerCase()).toContain('retry-after: 60')
    expect(JSON.parse(refused.body())).toMatchObject({ code: 'rate_limited' })
    await mine.settled()
    await undisturbed()
    const [one, ...others] = held
    if (one) live().sockets.remove(one)
    await (await openSocket(server, ann.accessToken)).next('connected')
    for (const other of others) live().sockets.remove(other)
  })

  test('of subscriptions on many sockets keeps one stream per list, and none once the reader is removed', async () => {
    const before = await watch()
    const lists = await Promise.all(times(8, () => makeList(ann)))
    await Promise.all(lists.map(({ id }) => join(ann, id, ben)))
    const hoard = await Promise.all(times(5, () => openSocket(server, ben.accessToken)))
    for (const socket of hoard) for (const { id } of lists) await socket.follow(id)
    const sockets = before.sockets + hoard.length
    const { subscriptions, streams } = before
    expect(await settledCounts(server)).toEqual({
      sockets,
      subscriptions: subscriptions + 5 * 8,
      streams: streams + 8,
    })
    await Promise.all(lists.map(({ id }) => ann.api.delete(`/shopping-lists/${id}/members/${ben.id}`)))
    const ended = (socket: TestSocket) => socket.messages.filter(({ type }) => type === 'unsubscribed')
    await until(() => hoard.every((socket) => ended(socket).length === 8), 'the end of all of them')
    expect(await settledCounts(server)).toEqual({ ...before, sockets })
    await Promise.all(lists.map(({ id }) => addItem(ann, id)))
    await Promise.all(hoard.map((socket) => socket.settled()))
    for (const socket of hoard)
      expect(socket.messages.filter(({ seq, type }) => seq && type !== 'member_removed')).toEqual([])
    await undisturbed()
  })

  /** A connection without a real socket, and what it sent. */
  const connectionOf = async (
    person: Person,
    given: Partial<Parameters<typeof createConnection>[0]> = {},
  ) => {
    const { deps } = server.running
    const closes: number[] = []
    const stuck = Promise.withResolvers<void>()
    const transport = {
      send: () => undefined,
      close: (code: number) => void closes.push(code),
      ping: () => undefined,
      subscribe: () => undefined,
      unsubscribe: () => undefined,
      unsent: () => 0,
      writable: () => stuck.promise,
    }
    const verified = await deps.tokens.read(person.accessToken)
    const connection = createConnection(
      { ...deps.live.sockets, ...given },
      transport,
      person.accessToken,
      verified,
    )
    return { connection, closes, unstick: stuck.resolve }
  }

  test('of long messages queued behind a stuck one is closed before they use much memory', async () => {
    const { connection, closes, unstick } = await connectionOf(ben)
    connection.receive(JSON.stringify({ type: 'subscribe', payload: { list_id: witnessed, since: 0 } }))
    const long = 'x'.repeat(limits.messageBytes)
    let taken = 0
    for (; closes.length === 0; taken++) connection.receive(long)
    expect(closes).toEqual([4008])
    expect(taken * long.length).toBeLessThan(limits.waitingLength + 2 * long.length)
    unstick()
  })

  test('of tokens is not all verified: those over the limit are refused unread', async () => {
    const { tokens } = server.running.deps
    let reads = 0
    const counting = {
      ...tokens,
      read(token: string) {
        reads++
        return tokens.read(token)
      },
    }
    const { connection, closes } = await connectionOf(ann, { tokens: counting })
    for (let sent = 0; closes.length === 0; sent++) {
      expect(sent).toBeLessThan(1000)
      connection.receive(JSON.stringify({ type: 'authenticate', payload: { token: `bad ${sent}` } }))
    }
    expect(closes).toEqual([4008])
    expect(reads).toBeLessThanOrEqual(limits.messageBurst + limits.messagesPerSecond)
  })
})
