/** The service on a Redis Cluster: state and live events spread over its nodes, and one of them lost. */
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { createCluster } from 'redis'
import { readInstallation } from '../../src/db/installation.ts'
import { topicOf } from '../../src/realtime/broker.ts'
import { createRedisBroker } from '../../src/realtime/broker-redis.ts'
import { openRedisStore } from '../../src/store/redis.ts'
import { createClient } from '../support/client.ts'
import { recordingLogger } from '../support/log.ts'
import {
  addItem,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  signIn,
  type Tenant,
} from '../support/people.ts'
import { postgresAvailable } from '../support/postgres.ts'
import { describeCluster, startCluster, type TestCluster } from '../support/redis-cluster.ts'
import { startInstance, startServer, type TestServer } from '../support/server.ts'
import { servicesRequired } from '../support/service.ts'
import { closeSockets, openSocket, type TestSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'
import { event, party, receivedOn, sameInstallation, someList } from './broker-suite.ts'

const describeHere = postgresAvailable || servicesRequired ? describeCluster : describeCluster.skip

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0)

describeHere('on a Redis Cluster', () => {
  let cluster: TestCluster
  let home: TestServer
  let away: TestServer
  let tenant: Tenant
  let admin: Person
  let visitor: Person

  beforeAll(async () => {
    cluster = await startCluster()
    const [first, second] = cluster.nodes
    home = await startServer('full', { REDIS_URL: first.url })
    away = await startInstance(home, { REDIS_URL: second.url })
    tenant = await makeTenant(home)
    admin = tenant.admin
    visitor = await makeUser(home, tenant)
  })
  afterEach(closeSockets)
  afterAll(async () => {
    await away?.stop()
    await home?.stop()
    await cluster?.end()
  })

  const perNode = (...words: string[]): Promise<string[]> =>
    Promise.all(cluster.nodes.map((node) => cluster.ask(node, ...words)))
  /** Channels of lists per node, without the canaries. */
  const listChannels = async (): Promise<number[]> =>
    (await perNode('PUBSUB', 'SHARDCHANNELS', 'minimart:*:list:*')).map(
      (channels) => channels.split(',').filter(Boolean).length,
    )
  const makeLists = async (count: number): Promise<string[]> => {
    const ids: string[] = []
    while (ids.length < count) ids.push((await makeList(admin)).id)
    return ids
  }
  const follow = async (server: TestServer, ids: readonly string[]): Promise<TestSocket> => {
    const socket = await openSocket(server, admin.accessToken)
    for (const id of ids) await socket.follow(id)
    return socket
  }
  const counts = (server: TestServer) => server.running.deps.live.hub.counts()

  /** Not the admin, whose oldest sessions so many sign-ins would end. */
  const login = (server: TestServer) =>
    createClient(server.url).post('/auth/login', { email: visitor.email, password: visitor.password })
  const logged = (server: TestServer, text: string): number =>
    server.log.messages().filter((message) => message === text).length
  const bridged = (server: TestServer): number =>
    logged(server, 'Redis relays live events between instances again')
  const parted = (server: TestServer): number =>
    logged(
      server,
      'Redis relays no live events between instances; until it is back they are read from the database, seconds later',
    )
  /** Adds one more event to every list, which must arrive through Redis. */
  const expectLive = async (ids: readonly string[], socket: TestSocket, seq: number): Promise<void> => {
    const before = arrived()
    for (const id of ids) await addItem(admin, id)
    await until(() => ids.every((id) => socket.seqs(id).length === seq), 'all events', 1000)
    for (const id of ids) expect(socket.seqs(id)).toEqual(Array.from({ length: seq }, (_, n) => n + 1))
    await expectArrived(before + ids.length)
  }
  /** Events that Redis has brought, whoever was first with them: on a busy machine a look at the database may be. */
  const arrived = (): number => away.log.messages().filter((message) => message === 'events arrived').length
  const expectArrived = async (count: number): Promise<void> => {
    await until(() => arrived() >= count, 'the events by Redis', 1000)
    expect(arrived()).toBe(count)
  }

  test('codes, sign-in and refresh sessions work on both instances, spread over all nodes', async () => {
    const renew = (server: TestServer, refresh_token: string) =>
      createClient(server.url).post('/auth/refresh', { refresh_token })
    const signInAndRenew = async () => {
      const { email, password } = await makeUser(home, tenant)
      const first = await signIn(away, email, password)
      const second = await renew(home, first.refresh_token)
      expect(second.status).toBe(200)
      const third = await renew(away, second.body.refresh_token)
      expect(third.status).toBe(200)
      return first
    }
    await until(
      async () => {
        await signInAndRenew()
        return (await perNode('DBSIZE')).every((size) => Number(size) > 0)
      },
      'keys on every node',
      20_000,
    )
    expect((await renew(home, (await signInAndRenew()).refresh_token)).status).toBe(401)
    for (const keys of await perNode('KEYS', '*'))
      expect(keys.split(',').filter((key) => !key.startsWith('minimart:'))).toEqual([])
  })

  test('a rate limit is shared by both instances', async () => {
    const settings = { RATE_LIMIT_AUTH: '4/day', TRUST_PROXY: '1' }
    const limited = await Promise.all([home, away].map((server) => startInstance(server, settings)))
    /** An instance that a node has not answered in half a second counts by itself for a while. */
    const turns = (text: string): number =>
      limited.reduce((sum, server) => sum + logged(server, `rate limits are ${text}`), 0)
    const losses = () => turns('counted per instance until Redis is available again')
    const areShared = () => losses() === turns('shared between instances again')
    const statusesOf = async (visit: number): Promise<number[]> => {
      const statuses: number[] = []
      for (let count = 0; count < 8; count++) {
        const credentials = { email: `nobody-${visit}@shop.example`, password: 'a wrong long password' }
        const headers = { 'x-forwarded-for': `198.51.100.${visit}` }
        const { url } = limited[count % 2] ?? home
        statuses.push((await createClient(url).post('/auth/login', credentials, { headers })).status)
      }
      return statuses
    }
    try {
      let visits = 0
      const statuses = await until(async () => {
        const before = losses()
        const answered = await statusesOf(++visits)
        return losses() === before && areShared() && answered
      }, 'Redis to answer all in time')
      expect(statuses).toEqual([401, 401, 401, 401, 429, 429, 429, 429])
    } finally {
      await Promise.all(limited.map((server) => server.stop()))
    }
  })

  test('events of one instance reach the other through sharded channels, on every node', async () => {
    const ids = await makeLists(40)
    const socket = await follow(away, ids)
    expect((await listChannels()).filter((count) => count === 0)).toEqual([])
    expect(sum(await listChannels())).toBe(ids.length)
    const [{ delivered }, before] = [counts(away), arrived()]
    for (const id of ids) {
      await addItem(admin, id)
      expect((await socket.next('item_added', 1000)).payload.list_id).toBe(id)
    }
    await expectArrived(before + ids.length)
    expect(counts(away).delivered).toBe(delivered + ids.length)
  })

  test('an instance stops listening after the last unsubscribe, and a new subscriber receives events again', async () => {
    const ids = await makeLists(6)
    await until(async () => (await listChannels()).every((count) => count === 0), 'no channel left')
    const before = arrived()
    for (const seq of [1, 2, 3]) {
      const socket = await follow(away, ids)
      for (const id of ids) {
        await addItem(admin, id)
        expect((await socket.next('item_added', 1000)).seq).toBe(seq)
      }
      for (const id of ids) {
        socket.send('unsubscribe', { list_id: id })
        await socket.next('unsubscribed')
      }
      socket.close()
    }
    await expectArrived(before + 3 * ids.length)
  })

  test('slots moved to another node take their lists along', async () => {
    const ids = await makeLists(6)
    const socket = await follow(away, ids)
    await expectLive(ids, socket, 1)
    const { name } = await readInstallation(home.running.deps.db)
    for (const id of ids) await cluster.moveChannel(`minimart:${name}:list:${tenant.id}:${id}`)
    for (const id of ids) await addItem(admin, id)
    await until(() => ids.every((id) => socket.seqs(id).length === 2), 'all events', 5000)
    await until(async () => sum(await listChannels()) === ids.length, 'each list on one node')
    await expectLive(ids, socket, 3)
  })

  test('an upgraded installation finds the keys and channels of the release before, on every node', async () => {
    const [{ url }] = cluster.nodes
    const own = sameInstallation(true)
    const log = recordingLogger()
    const older = createCluster({ rootNodes: [{ url }] })
    await older.connect()
    const store = await openRedisStore({ url, installation: own.installation, log })
    const keys = Array.from({ length: 12 }, () => `sessions:${crypto.randomUUID()}`)
    for (const key of keys) {
      await older.set(`minimart:${key}`, 'before', { expiration: { type: 'EX', value: 60 } })
      expect(await store.get(key)).toBe('before')
      expect(await store.compareAndSet(key, 'before', '7', 60)).toBe(true)
      expect((await store.increment(key, 60)).count).toBe(8)
      expect(await older.get(`minimart:${key}`)).toBe('8')
      expect(await store.delete(key)).toBe(true)
      expect(await older.get(`minimart:${key}`)).toBeNull()
    }
    await store.close()
    const [a, b] = [0, 1].map(() => party((handlers) => createRedisBroker({ url, log, ...own }, handlers)))
    try {
      const lists = Array.from({ length: 12 }, someList)
      for (const list of lists) await b?.broker.listen(list)
      await until(() => a?.reconnects() === 1, 'the connection')
      for (const list of lists) a?.broker.publish(list, [event(1)])
      await until(() => lists.every((list) => b && receivedOn(b, list).length === 1), 'the events')
      for (const list of lists) {
        const message = JSON.stringify({ version: 1, list, events: [] })
        await older.sPublish(`minimart:${topicOf(list)}`, message)
      }
      await until(() => b?.hints.length === lists.length, 'the hints')
    } finally {
      await Promise.all([a?.broker.close(), b?.broker.close()])
      older.destroy()
    }
  })

  test('a moved slot has streams reconcile with the database', async () => {
    const list = someList()
    const [{ url }] = cluster.nodes
    const own = sameInstallation()
    const one = party((handlers) => createRedisBroker({ url, log: recordingLogger(), ...own }, handlers))
    try {
      await one.broker.listen(list)
      expect(one.reconnects()).toBe(1)
      await cluster.moveChannel(`minimart:${own.installation.name}:${topicOf(list)}`)
      await until(() => one.reconnects() > 1, 'a reconnect', 5000)
    } finally {
      await one.broker.close()
    }
  })

  test.each(['crash', 'freeze'] as const)(
    'after a %s of one node, lists keep working and events arrive within 5 s; once it is back, live again',
    async (fault) => {
      const ids = await makeLists(30)
      const socket = await follow(away, ids)
      const { healed } = counts(away)
      const lost = cluster.nodes[2]
      const both = [home, away].map((at) => ({ at, bridged: bridged(at), parted: parted(at) }))
      await (fault === 'crash' ? lost.stop('crash') : lost.freeze())
      for (const id of ids) await addItem(admin, id)
      await until(() => ids.every((id) => socket.seqs(id).length === 1), 'all events', 5000)
      for (const id of ids) expect((await admin.api.get(`/shopping-lists/${id}`)).body.seq).toBe(1)
      expect(counts(away).healed).toBeGreaterThan(healed)
      const answer = await until(
        async () => {
          const asked = performance.now()
          const given = await login(away)
          expect(performance.now() - asked).toBeLessThan(4000)
          return given.status === 503 && given
        },
        'the outage to be logged',
        15_000,
      )
      expect(answer.body.code).toBe('redis_unavailable')
      // Only once the outage was noticed can its end be waited for.
      await until(() => both.every((was) => parted(was.at) > was.parted), 'the parting', 15_000)

      await (fault === 'crash' ? lost.start() : lost.thaw())
      await cluster.whole()
      await until(() => both.every((was) => bridged(was.at) > was.bridged), 'the bridge', 20_000)
      // Once Redis is back, each stream reconciles once, and may find these first.
      for (const id of ids) await addItem(admin, id)
      await until(() => ids.every((id) => socket.seqs(id).length === 2), 'all events', 1000)
      await expectLive(ids, socket, 3)
      await until(async () => (await login(away)).status === 200, 'a sign-in', 10_000)
    },
  )

  test('an instance started without the cluster works once it is up', async () => {
    await Promise.all(cluster.nodes.map((node) => node.stop('crash')))
    const late = await startInstance(home)
    try {
      expect((await login(late)).body.code).toBe('redis_unavailable')
      await Promise.all(cluster.nodes.map((node) => node.start()))
      await cluster.whole()
      await until(async () => (await login(late)).status === 200, 'a sign-in', 15_000)
      await until(() => bridged(late) > 0 && login(away).then(({ status }) => status === 200), 'the bridge')
      const ids = await makeLists(10)
      const socket = await follow(late, ids)
      for (const id of ids) await addItem(admin, id)
      await until(() => ids.every((id) => socket.seqs(id).length === 1), 'all events', 5000)
      for (const id of ids) expect(socket.seqs(id)).toEqual([1])
    } finally {
      await late.stop()
    }
  })
})
