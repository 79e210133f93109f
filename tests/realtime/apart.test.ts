/** Two installations with the same tenant on one PostgreSQL server and one Redis: nothing crosses between them. */
import { afterAll, afterEach, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { createClient } from 'redis'
import { readInstallation } from '../../src/db/installation.ts'
import { exportText, importText } from '../support/archive.ts'
import { refresh } from '../support/auth.ts'
import { scrape, sumOf } from '../support/metrics.ts'
import { addItem, asPerson, goodPassword, makeList, makeTenant, type Person } from '../support/people.ts'
import { testPostgres } from '../support/postgres.ts'
import { describeFull, startInstance, startServer, type TestServer } from '../support/server.ts'
import { closeSockets, openSocket, type TestSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

interface Place {
  /** Where changes are made. */
  writer: TestServer
  /** Where they are followed: what comes here has come through Redis. */
  reader: TestServer
  person: Person
}

describeFull('an installation and another with the same tenant', () => {
  const servers: TestServer[] = []
  afterEach(closeSockets)
  afterAll(async () => {
    for (const server of servers.toReversed()) await server.stop()
  })

  const keep = async (starting: Promise<TestServer>): Promise<TestServer> => {
    const server = await starting
    servers.push(server)
    return server
  }

  /** Changes the list on both sides in turn; each side must hear its own changes, all and only these. */
  async function expectApart(places: readonly [Place, Place], listId: string): Promise<void> {
    const followed = await Promise.all(
      places.map(async ({ reader, person }, side) => {
        const socket = await openSocket(reader, person.accessToken)
        const { payload } = await socket.follow(listId)
        const healed = () => reader.running.deps.live.hub.counts().healed
        return { socket, from: payload.seq, healed, healedBefore: healed(), names: namesOf(side) }
      }),
    )
    for (let index = 0; index < 12; index++)
      // One side is ahead of the other for a while, and then behind.
      for (const [side, { person }] of places.entries())
        if (index % 4 < 2 === (side === 0) || index > 8)
          await addItem(person, listId, { name: `${side} ${index}` })
    for (const { socket, from, healed, healedBefore, names } of followed) {
      await until(() => socket.events(listId).length >= names.length, 'all events of its own')
      await socket.settled()
      expect(socket.events(listId).map(({ payload }) => payload.item.name)).toEqual(names)
      expect(socket.seqs(listId)).toEqual(names.map((_, index) => from + 1 + index))
      expect(healed()).toBe(healedBefore)
    }
  }
  const namesOf = (side: number): string[] =>
    Array.from({ length: 12 }, (_, index) => index)
      .filter((index) => index % 4 < 2 === (side === 0) || index > 8)
      .map((index) => `${side} ${index}`)

  const devicesOf = async ({ api }: Person): Promise<number> =>
    (await api.get('/auth/sessions')).body.data.length

  test('by export and import, with another secret: events and sessions stay where they are', async () => {
    const production = await keep(startServer('full'))
    const staging = await keep(
      startServer('full', {
        REDIS_URL: production.environment['REDIS_URL'] ?? '',
        JWT_SECRET_KEY: 'another secret of the same length, 0123456789',
      }),
    )
    const tenant = await makeTenant(production)
    const list = await makeList(tenant.admin)
    await addItem(tenant.admin, list.id)
    const archive = await exportText(production.running.deps.db, tenant.id, { credentials: true })
    const { db } = staging.running.deps
    const [id] = await db.read('system', sql<{ id: string }>`select id::text from installation`)
    await importText(db, archive)
    // Both have an id of their own, which no archive carries.
    for (const { running } of [production, staging])
      expect(archive).not.toContain((await readInstallation(running.deps.db)).name)
    expect(await db.read('system', sql`select id::text from installation`)).toEqual([{ id: id?.id }])

    const there = await asPerson(staging, tenant.admin.email, goodPassword)
    expect(there.id).toBe(tenant.admin.id)
    await expectApart(
      [
        { writer: production, reader: await keep(startInstance(production)), person: tenant.admin },
        { writer: staging, reader: await keep(startInstance(staging)), person: there },
      ],
      list.id,
    )
    // Ids of users are the same on both sides.
    expect([await devicesOf(tenant.admin), await devicesOf(there)]).toEqual([1, 1])
    expect((await there.api.post('/auth/logout')).status).toBe(204)
    expect((await refresh(production, tenant.admin.refreshToken)).status).toBe(200)
  })

  test('as a copy of its database beside it, with the same secret', async () => {
    const original = await startServer('full')
    const tenant = await makeTenant(original)
    const list = await makeList(tenant.admin)
    await original.running.stop()
    const url = new URL(original.environment['DATABASE_URL'] ?? '')
    const admin = postgres((await testPostgres()).url, { max: 1, onnotice: () => undefined })
    const duplicate = await (await testPostgres()).createDatabase()
    const name = new URL(duplicate.url).pathname.slice(1)
    await admin`drop database ${admin(name)}`
    await admin`create database ${admin(name)} template ${admin(url.pathname.slice(1))}`
    await admin.end({ timeout: 2 })
    servers.push({
      ...original,
      stop: () => Promise.all([original.stop(), duplicate.drop()]).then(() => undefined),
    })

    const places = await Promise.all(
      [url.href, duplicate.url].map(async (DATABASE_URL): Promise<Place> => {
        const writer = await keep(startInstance(original, { DATABASE_URL }))
        const reader = await keep(startInstance(original, { DATABASE_URL }))
        return { writer, reader, person: await asPerson(writer, tenant.admin.email, goodPassword) }
      }),
    )
    const [here, there] = places
    if (!here || !there) throw new Error('a place is missing')
    await expectApart([here, there], list.id)
    // The session from before the copy was made lives on in the original alone.
    expect(await devicesOf(here.person)).toBe(2)
    expect(await devicesOf(there.person)).toBe(1)
    expect((await refresh(there.writer, tenant.admin.refreshToken)).status).toBe(401)
    expect((await refresh(here.writer, tenant.admin.refreshToken)).status).toBe(200)
  })

  test('what a stranger publishes in the same Redis reaches nobody, and hides nothing that is real', async () => {
    const [server] = servers
    if (!server) throw new Error('there is no server')
    const { admin } = await makeTenant(server)
    const { tid } = JSON.parse(Buffer.from(admin.accessToken.split('.')[1] ?? '', 'base64url').toString())
    const list = await makeList(admin)
    const socket: TestSocket = await openSocket(server, admin.accessToken)
    await socket.follow(list.id)
    const redis = createClient({ url: server.environment['REDIS_URL'] ?? '' })
    await redis.connect()
    const channels = await redis.pubSubChannels(`*${list.id}`)
    expect(channels).toHaveLength(1)
    const dropped = async () =>
      sumOf(await scrape(`${server.url}/metrics`), 'minimart_broker_messages_dropped_total')
    const before = await dropped()
    const forged = [1, 2].map((seq) => ({
      ...{ seq, type: 'member_removed', userId: admin.id },
      text: JSON.stringify({
        type: 'item_added',
        payload: { list_id: list.id, item: { name: 'forged' } },
        seq,
      }),
    }))
    const message = JSON.stringify({ version: 1, list: { tenantId: tid, listId: list.id }, events: forged })
    for (const channel of [...channels, `minimart:list:${tid}:${list.id}`])
      for (const text of [message, 'A'.repeat(43) + message]) await redis.publish(channel, text)
    redis.destroy()
    await addItem(admin, list.id, { name: 'real' })
    await socket.next('item_added')
    await socket.settled()
    expect(socket.messages.filter(({ payload }) => JSON.stringify(payload).includes('forged'))).toEqual([])
    expect(socket.events(list.id).map(({ seq, payload }) => [seq, payload.item.name])).toEqual([[1, 'real']])
    await until(async () => (await dropped()) === before + 2, 'the count of what was dropped')
  })
})
