/** A database that is set back to an earlier state under running instances, as by a restore or a lossy failover. */
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import postgres from 'postgres'
import { stateOf } from '../../src/client/index.ts'
import { clientOf, comparable, watch } from '../client/setup.ts'
import { outcome } from '../support/history.ts'
import { scrape, sumOf } from '../support/metrics.ts'
import { addItem, makeList, makeTenant, type Person } from '../support/people.ts'
import { describeFull, sharedServer, startInstance, type TestServer } from '../support/server.ts'
import { closeSockets, openSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

const names = (count: number, what: string) =>
  Array.from({ length: count }, (_, n) => ({ name: `${what} ${n}` }))
const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index)

describeFull('history that was rewound', () => {
  let server: TestServer
  let other: TestServer
  let ann: Person
  let sql: postgres.Sql
  beforeAll(async () => {
    server = await sharedServer('full')
    other = await startInstance(server)
    ann = (await makeTenant(server)).admin
    sql = postgres(server.environment['DATABASE_URL'] ?? '', { max: 1, onnotice: () => undefined })
  })
  afterEach(closeSockets)
  afterAll(async () => {
    await sql.end()
    await other.stop()
  })

  /** A list with three items, and a way back to this state of its rows. */
  const listToRewind = async () => {
    const { id } = await makeList(ann)
    await ann.api.post(`/shopping-lists/${id}/items`, { items: names(3, 'Kept') })
    const [kept] = await sql`select to_jsonb(l) as list from shopping_lists l where id = ${id}`
    return {
      id,
      path: `/shopping-lists/${id}`,
      add: (count: number, what: string) =>
        ann.api.post(`/shopping-lists/${id}/items`, { items: names(count, what) }),
      position: async (): Promise<string> => (await ann.api.get(`/shopping-lists/${id}`)).body.position,
      rewind: () =>
        sql.begin(async (sql) => {
          await sql`delete from list_events where list_id = ${id} and seq > 3`
          await sql`delete from items where list_id = ${id} and name not like 'Kept %'`
          await sql`update shopping_lists l set seq = k.seq, mark = k.mark, mark_seq = k.mark_seq,
              item_count = k.item_count, pending_count = k.pending_count, updated_at = k.updated_at
            from jsonb_populate_record(null::shopping_lists, ${sql.json(kept?.['list'])}) k where l.id = k.id`
        }),
    }
  }

  test('live sockets of every instance are told, and then hear every event', async () => {
    const { id, path, add, position, rewind } = await listToRewind()
    const sockets = await Promise.all([server, other].map((on) => openSocket(on, ann.accessToken)))
    for (const socket of sockets) await socket.follow(id)
    const mart = await clientOf(ann, other.url)
    const seen = watch(mart, id)
    await seen.reaches(3)
    const restoredTo = await position()
    await add(30, 'Lost')
    for (const socket of sockets) await until(() => socket.seqs(id).length === 30, 'the lost events')
    await seen.reaches(33)
    await rewind()
    for (const socket of sockets)
      expect((await socket.next('resync_required')).payload).toEqual({
        list_id: id,
        seq: 3,
        position: restoredTo,
      })
    await add(2, 'Real')
    for (const socket of sockets) {
      await until(() => socket.seqs(id).length === 32, 'the events of the restored list')
      expect(socket.seqs(id).slice(30)).toEqual([4, 5])
    }
    await until(() => seen.status().phase === 'live' && seen.state().items.length === 5, 'the restored list')
    expect(comparable(seen.state())).toEqual(comparable(stateOf((await ann.api.get(path)).body)))
    mart.close()
  })

  test('a list that has grown past the lost number is found out by the first event', async () => {
    const { id, path, add, position, rewind } = await listToRewind()
    const socket = await openSocket(server, ann.accessToken)
    await socket.follow(id)
    await add(5, 'Lost')
    await until(() => socket.seqs(id).length === 5, 'the lost events')
    const lost = await position()
    await rewind()
    await add(5, 'Real')
    await addItem(ann, id, { name: 'Real 9' })
    await socket.next('resync_required')
    await addItem(ann, id, { name: 'Real 10' })
    await until(() => socket.seqs(id).includes(10), 'the last event')
    // Whatever came of 4 to 9 after the resync is of the history that holds.
    const heard = socket.events(id).slice(5)
    const stored = (await ann.api.get(`${path}/events?since=3`)).body.data
    for (const event of heard)
      expect(event).toEqual(stored.find(({ seq }: { seq: number }) => seq === event.seq))
    expect(await position()).not.toBe(lost)
  })

  test('a reader who was away is told by the position, however far the list has grown', async () => {
    const { id, path, add, position, rewind } = await listToRewind()
    const kept = await position()
    await add(2, 'Lost')
    const lost = await position()
    const tag = { headers: { 'if-none-match': `"seq-${lost}"` } }
    expect((await ann.api.get(path, tag)).status).toBe(304)
    await rewind()
    for (const end of [3, 5, 7]) {
      if (end > 3) await add(2, `Real ${end}`)
      const fresh = await openSocket(other, ann.accessToken)
      fresh.send('subscribe', { list_id: id, since: lost })
      expect((await fresh.next('subscribed')).payload).toMatchObject({ seq: end, recovered: false })
      expect((await fresh.next('resync_required')).payload).toMatchObject({ seq: end })
      expect(outcome(await ann.api.get(`${path}/events?since=${lost}`))).toBe('410 history_changed')
      expect((await ann.api.get(path, tag)).status).toBe(200)
      const guarded = { headers: { 'if-match': `"seq-${lost}"` } }
      expect(outcome(await ann.api.patch(path, { name: 'Lost' }, guarded))).toBe('412 version_mismatch')
      fresh.close()
      const back = await openSocket(server, ann.accessToken)
      back.send('subscribe', { list_id: id, since: kept })
      expect((await back.next('subscribed')).payload).toMatchObject({ seq: end, recovered: true })
      await until(() => back.seqs(id).length === end - 3, 'what is new')
      expect(back.seqs(id)).toEqual(end === 3 ? [] : numbers(4, end))
      const { data, complete } = (await ann.api.get(`${path}/events?since=${kept}`)).body
      expect([data.length, complete]).toEqual([end - 3, true])
    }
  })

  test('a subscriber to a stream that is ahead of the database is let in after a few reads', async () => {
    const { id, add, rewind } = await listToRewind()
    const socket = await openSocket(server, ann.accessToken)
    await socket.follow(id)
    await add(3, 'Lost')
    await until(() => socket.seqs(id).length === 3, 'the lost events')
    const calls = async () =>
      sumOf(await scrape(`${server.url}/metrics`), 'minimart_database_call_duration_seconds_count')
    await rewind()
    const before = await calls()
    const fresh = await openSocket(server, ann.accessToken)
    expect((await fresh.follow(id)).payload).toMatchObject({ seq: 3 })
    await fresh.settled()
    await addItem(ann, id)
    await until(() => fresh.seqs(id).length === 1, 'the next event')
    // The revocations are polled twice a second besides.
    expect((await calls()) - before).toBeLessThan(60)
  })
})
