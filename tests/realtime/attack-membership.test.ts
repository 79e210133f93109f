/** A former member receives nothing more, however the membership ended and whatever was lost on the way. */
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import postgres from 'postgres'
import { compileStatement } from '../../src/db/statement.ts'
import { createConnection } from '../../src/realtime/connection.ts'
import { addItem, join, makeList, makeTenant, makeUser, type Person, type Tenant } from '../support/people.ts'
import {
  describeBackends,
  describeFull,
  sharedServer,
  startInstance,
  type TestServer,
} from '../support/server.ts'
import { closeSockets, openSocket, settledCounts, type TestSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

/** Everything but the greeting and answers to pings. */
const received = (socket: TestSocket): string[] =>
  socket.messages.slice(1).flatMap(({ type }) => (type === 'pong' ? [] : [type]))

const remove = (owner: Person, listId: string, person: Person) =>
  owner.api.delete(`/shopping-lists/${listId}/members/${person.id}`)

describeBackends('a former member', (backend) => {
  let servers: TestServer[]
  let tenant: Tenant
  let ann: Person
  let ben: Person

  beforeAll(async () => {
    const home = await sharedServer(backend)
    servers = backend === 'full' ? [home, await startInstance(home)] : [home, home]
    tenant = await makeTenant(home)
    ann = await makeUser(home, tenant)
    ben = await makeUser(home, tenant)
  })
  afterEach(closeSockets)
  afterAll(async () => {
    if (servers[0] !== servers[1]) await servers[1]?.stop()
  })

  const openEverywhere = (person: Person) =>
    Promise.all(servers.map((server) => openSocket(server, person.accessToken)))
  /** Waits until every instance has delivered everything written before. */
  const passed = async (listId: string, witnesses: readonly TestSocket[], sockets: readonly TestSocket[]) => {
    const { id } = await addItem(ann, listId)
    const isThere = (witness: TestSocket) =>
      witness.events(listId).some(({ payload }) => payload.item?.id === id)
    await until(() => witnesses.every(isThere), 'the event at the witnesses')
    await Promise.all(sockets.map((socket) => socket.settled()))
  }

  test('who returns as a viewer receives nothing until they subscribe again, then everything, on every instance', async () => {
    const { id } = await makeList(ann)
    await join(ann, id, ben)
    const [sockets, witnesses] = [await openEverywhere(ben), await openEverywhere(ann)]
    for (const socket of [...sockets, ...witnesses]) await socket.follow(id)
    await remove(ann, id, ben)
    await join(ann, id, ben, 'viewer')
    await passed(id, witnesses, sockets)
    for (const socket of sockets)
      expect(received(socket)).toEqual(['subscribed', 'member_removed', 'unsubscribed'])
    for (const socket of sockets) expect((await socket.follow(id, 2)).payload.recovered).toBe(true)
    await passed(id, witnesses, sockets)
    for (const socket of sockets)
      expect(received(socket).slice(3)).toEqual(['subscribed', 'member_joined', 'item_added', 'item_added'])
  })

  test('of a list deleted and restored receives nothing without a new subscription, like everyone else', async () => {
    const { id } = await makeList(ann)
    await join(ann, id, ben)
    const sockets = await openEverywhere(ben)
    for (const socket of sockets) await socket.follow(id)
    expect((await ann.api.delete(`/shopping-lists/${id}`)).status).toBe(204)
    await Promise.all(sockets.map((socket) => socket.next('unsubscribed')))
    expect((await ann.api.post(`/shopping-lists/${id}/restore`)).status).toBe(200)
    const witnesses = await openEverywhere(ann)
    for (const witness of witnesses) await witness.follow(id)
    await passed(id, witnesses, sockets)
    for (const socket of sockets)
      expect(received(socket)).toEqual(['subscribed', 'list_deleted', 'unsubscribed'])
  })

  test('is unsubscribed also when the subscription began with a resync', async () => {
    const { id } = await makeList(ann)
    await join(ann, id, ben)
    const [sockets, witnesses] = [await openEverywhere(ben), await openEverywhere(ann)]
    for (const witness of witnesses) await witness.follow(id)
    for (const socket of sockets) await socket.follow(id, 1000)
    await remove(ann, id, ben)
    await passed(id, witnesses, sockets)
    for (const socket of sockets)
      expect(received(socket)).toEqual(['subscribed', 'resync_required', 'member_removed', 'unsubscribed'])
  })

  test('who lost the admin role receives no list of the tenant any more, on any instance', async () => {
    const cid = await makeUser(servers[0] as TestServer, tenant, { role: 'tenant_admin' })
    const { id } = await makeList(ann)
    const [sockets, witnesses] = [await openEverywhere(cid), await openEverywhere(ann)]
    for (const socket of [...sockets, ...witnesses]) await socket.follow(id)
    await tenant.admin.api.patch(`/users/${cid.id}`, { role: 'member' })
    await until(() => sockets.every((socket) => !socket.isOpen()), 'their close', 1000)
    await addItem(ann, id)
    await Promise.all(witnesses.map((witness) => witness.next('item_added')))
    for (const socket of sockets) expect(received(socket)).toEqual(['subscribed'])
  })
})

describeFull('a gap in history that has expired', () => {
  afterEach(closeSockets)

  test('may hide the end of a membership: subscribers are reauthorized before any later event', async () => {
    const server = await sharedServer('full')
    const tenant = await makeTenant(server)
    const [ann, ben, cid] = await Promise.all([1, 2, 3].map(() => makeUser(server, tenant)))
    if (!ann || !ben || !cid) throw new Error('a person is missing')
    const { id } = await makeList(ann)
    await join(ann, id, ben)
    await join(ann, id, cid)
    const followers = await Promise.all(
      [ann, ben, ben, cid, tenant.admin].map((person) => openSocket(server, person.accessToken)),
    )
    for (const follower of followers) await follower.follow(id)
    const sql = postgres(server.environment['DATABASE_URL'] ?? '', { max: 1, onnotice: () => undefined })
    try {
      // As after an outage so long that retention deleted the events: this instance never received them.
      await sql.begin(async (tx) => {
        await tx`delete from list_members where list_id = ${id} and user_id = ${ben.id}`
        await tx`update shopping_lists set seq = seq + 3 where id = ${id}`
      })
    } finally {
      await sql.end()
    }
    await Promise.all([
      server.running.deps.live.hub.reconcileHeads(),
      ...[1, 2, 3].map(() => addItem(ann, id)),
    ])
    const [annsOwn, bens, bensOther, cids, admins] = followers
    const staying = [annsOwn, cids, admins].filter((socket) => socket !== undefined)
    // The resync may come late enough to name the last of them itself.
    const hasAll = ({ messages }: TestSocket): boolean =>
      messages.some(({ type, seq, payload }) => (type === 'resync_required' ? payload.seq : seq) === 8)
    await until(() => staying.every(hasAll), 'the events behind the gap')
    for (const socket of staying) {
      // A second one, where the event at the head of the first is not kept either.
      const last = socket.messages.findLastIndex(({ type }) => type === 'resync_required')
      expect(last).toBeGreaterThan(1)
      const [resync, ...others] = socket.messages.slice(last)
      const from: number = resync?.payload.seq
      expect(others.map(({ seq }) => seq)).toEqual(others.map((_, index) => from + 1 + index))
    }
    for (const socket of [bens, bensOther]) {
      await socket?.settled()
      expect(socket ? received(socket) : []).toEqual(['subscribed', 'unsubscribed'])
    }
  })

  test('has a crowd of subscribers reauthorized a few at a time', async () => {
    const server = await sharedServer('full')
    const { admin } = await makeTenant(server)
    const { id } = await makeList(admin)
    const crowd = await Promise.all(Array.from({ length: 40 }, () => openSocket(server, admin.accessToken)))
    for (const socket of crowd) await socket.follow(id)
    const sql = postgres(server.environment['DATABASE_URL'] ?? '', { max: 1, onnotice: () => undefined })
    await sql`update shopping_lists set seq = seq + 3 where id = ${id}`
    await sql.end()
    const { db, live } = server.running.deps
    const { read } = db
    let [asked, asking, most] = [0, 0, 0]
    db.read = async (scope, statement) => {
      if (!compileStatement(statement).text.includes('m.user_id')) return read(scope, statement)
      asked++
      most = Math.max(most, ++asking)
      return await read(scope, statement).finally(() => asking--)
    }
    try {
      await live.hub.reconcileHeads()
    } finally {
      db.read = read
    }
    expect(asked).toBe(crowd.length)
    expect(most).toBeLessThan(10)
    for (const socket of crowd) await socket.next('resync_required')
  })

  test('may also hide the deletion of the list', async () => {
    const server = await sharedServer('full')
    const { admin } = await makeTenant(server)
    const { id } = await makeList(admin)
    const before = await settledCounts(server)
    const socket = await openSocket(server, admin.accessToken)
    await socket.follow(id)
    const sql = postgres(server.environment['DATABASE_URL'] ?? '', { max: 1, onnotice: () => undefined })
    try {
      await sql`update shopping_lists set seq = seq + 1, deleted_at = now() where id = ${id}`
    } finally {
      await sql.end()
    }
    await server.running.deps.live.hub.reconcileHeads()
    await socket.settled()
    expect(received(socket)).toEqual(['subscribed', 'unsubscribed'])
    expect((await settledCounts(server)).subscriptions).toBe(before.subscriptions)
  })

  test('may also open during a replay that the client is slow to read', async () => {
    const server = await sharedServer('full')
    const tenant = await makeTenant(server)
    const [ann, ben] = [tenant.admin, await makeUser(server, tenant)]
    const { id } = await makeList(ann)
    await join(ann, id, ben)
    const { deps } = server.running
    const sent: string[] = []
    const slow = Promise.withResolvers<void>()
    const transport = {
      send: (text: string) => void sent.push(JSON.parse(text).type),
      close: () => undefined,
      ping: () => undefined,
      subscribe: (topic: string) => void sent.push(topic),
      unsubscribe: () => undefined,
      unsent: () => 0,
      writable: () => slow.promise,
    }
    const verified = await deps.tokens.read(ben.accessToken)
    const connection = createConnection(deps.live.sockets, transport, ben.accessToken, verified)
    connection.receive(JSON.stringify({ type: 'subscribe', payload: { list_id: id, since: 0 } }))
    await until(() => sent.includes('subscribed'), 'the beginning of the replay')
    await remove(ann, id, ben)
    await addItem(ann, id)
    const sql = postgres(server.environment['DATABASE_URL'] ?? '', { max: 1, onnotice: () => undefined })
    try {
      await sql`delete from list_events where list_id = ${id}`
    } finally {
      await sql.end()
    }
    slow.resolve()
    await until(() => sent.length === 4, 'its end')
    connection.ended()
    expect(sent).toEqual(['connected', 'subscribed', 'member_joined', 'unsubscribed'])
  })
})
