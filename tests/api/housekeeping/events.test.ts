/** Expired events are deleted, and readers of a list's history get an error rather than a gap. */
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import type { Database } from '../../../src/db/database.ts'
import { addItem, makeList, makeTenant, makeUser, type Person, type Tenant } from '../../support/people.ts'
import { describeBackends, startServer, type TestServer } from '../../support/server.ts'
import { closeSockets, openSocket } from '../../support/socket.ts'
import { until } from '../../support/until.ts'
import { housekeepingOf, roundIn, rowsOf } from './setup.ts'

describeBackends('expired events', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person

  beforeAll(async () => {
    server = await startServer(backend)
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant)
  })
  afterEach(closeSockets)
  afterAll(() => server.stop())

  const listWithEvents = async (count: number): Promise<string> => {
    const { id } = await makeList(ann)
    for (let item = 0; item < count; item++) await addItem(ann, id)
    return id
  }
  const reading = async (listId: string, since: number) => {
    const { status, body } = await ann.api.get(`/shopping-lists/${listId}/events?since=${since}`)
    return status === 200
      ? { seqs: body.data.map(({ seq }: { seq: number }) => seq), complete: body.complete }
      : body.code
  }
  const seqsKept = async (listId: string): Promise<number[]> => {
    const kept = await rowsOf(
      server,
      { tenantId: tenant.id },
      sql<{ seq: number }>`select seq from list_events where list_id = ${listId} order by seq`,
    )
    return kept.map(({ seq }) => Number(seq))
  }

  test('are deleted as a prefix: whoever asks for one gets 410 over HTTP and resync_required on the socket', async () => {
    const id = await listWithEvents(5)
    const [{ at } = { at: '' }] = await rowsOf(
      server,
      { tenantId: tenant.id },
      sql<{ at: string }>`select at::text as at from list_events where list_id = ${id} and seq = 4`,
    )
    const socket = await openSocket(server, ann.accessToken)
    await socket.follow(id)
    // It is kept even though it is as old as the fourth by then.
    const now = sql`(${at}::timestamptz + interval '30 days')`
    const { outcome } = await housekeepingOf(server, { now }).run()
    expect(outcome).toBe('done')
    expect(await seqsKept(id)).toEqual([3, 4, 5])

    expect([await reading(id, 0), await reading(id, 1)]).toEqual(['events_expired', 'events_expired'])
    expect(await reading(id, 2)).toEqual({ seqs: [3, 4, 5], complete: true })
    expect(await reading(id, 5)).toEqual({ seqs: [], complete: true })

    await addItem(ann, id)
    await until(() => socket.seqs(id).length === 1)
    expect(socket.seqs(id)).toEqual([6])
    const late = await openSocket(server, ann.accessToken)
    expect((await late.follow(id, 1)).payload).toMatchObject({ seq: 6, recovered: false })
    expect((await late.next('resync_required')).payload).toMatchObject({ list_id: id, seq: 6 })
    const back = await openSocket(server, ann.accessToken)
    expect((await back.follow(id, 2)).payload).toMatchObject({ seq: 6, recovered: true })
    await addItem(ann, id)
    await until(() => back.seqs(id).length === 5 && late.seqs(id).length === 1)
    expect([back.seqs(id), late.seqs(id)]).toEqual([[3, 4, 5, 6, 7], [7]])
  })

  test('leave an idle list intact: its seq stays, and readers that are up to date stay so', async () => {
    const others = [await listWithEvents(3), await listWithEvents(3)]
    const id = await listWithEvents(4)
    const before = await ann.api.get(`/shopping-lists/${id}`)
    // The events one list keeps must not use up a small batch and starve the next lists.
    await roundIn(server, 31, { batchSize: 2, maxBatches: 30 })
    expect(await seqsKept(id)).toEqual([4])
    for (const other of others) expect(await seqsKept(other)).toEqual([3])
    const after = await ann.api.get(`/shopping-lists/${id}`)
    expect(after.body).toEqual(before.body)
    expect(await reading(id, 4)).toEqual({ seqs: [], complete: true })
    expect(await reading(id, 2)).toBe('events_expired')
    const socket = await openSocket(server, ann.accessToken)
    expect((await socket.follow(id, 4)).payload).toMatchObject({ seq: 4, recovered: true })
    await addItem(ann, id)
    await until(() => socket.seqs(id).length === 1)
    expect(socket.seqs(id)).toEqual([5])
  })

  test('are deleted during writes without losing or delaying live ones: every new event reaches its subscribers', async () => {
    const lists = await Promise.all([listWithEvents(20), listWithEvents(20)])
    const [{ now } = { now: '' }] = await rowsOf(
      server,
      'system',
      sql<{ now: string }>`select now()::text as now`,
    )
    const socket = await openSocket(server, ann.accessToken)
    for (const id of lists) await socket.follow(id)
    let writing = true
    const writers = lists.map(async (id) => {
      for (let item = 0; item < 25; item++) await addItem(ann, id)
    })
    const sweeping = (async () => {
      const outcomes = new Set<string>()
      // By this clock all old events have expired and none of the new ones.
      const options = { now: sql`(${now}::timestamptz + interval '30 days')`, batchSize: 3 }
      while (writing) outcomes.add((await housekeepingOf(server, options).run()).outcome)
      return outcomes
    })()
    await Promise.all(writers)
    writing = false
    expect([...(await sweeping)]).toEqual(['done'])
    const fresh = Array.from({ length: 25 }, (_, index) => 21 + index)
    await until(() => lists.every((id) => socket.seqs(id).length >= 25))
    for (const id of lists) {
      expect(socket.seqs(id)).toEqual(fresh)
      expect(await seqsKept(id)).toEqual([20, ...fresh])
      expect(await reading(id, 20)).toEqual({ seqs: fresh, complete: true })
    }
  })

  test('make no list appear twice in the pages when an idle one changes', async () => {
    const ben = await makeUser(server, tenant)
    const names = ['first', 'second', 'third']
    const lists = []
    for (const name of names) lists.push(await makeList(ben, name))
    const [first] = lists
    if (!first) throw new Error('no list')
    await addItem(ben, first.id)
    await roundIn(server, 31)
    const seen: string[] = []
    for (let cursor = ''; cursor !== 'null'; ) {
      const { body } = await ben.api.get(
        `/shopping-lists?limit=1${cursor && `&cursor=${encodeURIComponent(cursor)}`}`,
      )
      seen.push(...body.data.map(({ name }: { name: string }) => name))
      if (seen.length === 1) await addItem(ben, first.id)
      cursor = String(body.next_cursor)
    }
    expect(seen).toEqual(['first', 'third', 'second'])
  })

  test('are deleted in bounded batches, between which others write; the rest waits for the next round', async () => {
    const { id } = await makeList(ann)
    const scope = { tenantId: tenant.id }
    await rowsOf(
      server,
      scope,
      sql`insert into list_events (tenant_id, list_id, seq, type, payload, actor_id, at)
        select ${tenant.id}, ${id}, n, 'item_deleted', '{}', ${ann.id}, clock_timestamp() - interval '40 days'
        from generate_series(1, 2501) n`,
    )
    await rowsOf(server, scope, sql`update shopping_lists set seq = 2501 where id = ${id}`)
    const { db } = server.running.deps
    const order: string[] = []
    const watched: Database = {
      ...db,
      transaction: async (of, work) => {
        if (order.length === 0)
          void db.write(scope, sql`update shopping_lists set version = version where id = ${id}`).then(
            () => order.push('write'),
            (error: unknown) => order.push(String(error)),
          )
        order.push('batch')
        return await db.transaction(of, work)
      },
    }
    const first = await housekeepingOf(server, { db: watched, batchSize: 500, maxBatches: 4 }).run()
    expect(first.removed.events).toBe(2000)
    expect(order.indexOf('write')).toBeGreaterThan(0)
    expect(order.slice(order.indexOf('write')).filter((what) => what === 'batch').length).toBeGreaterThan(2)
    await addItem(ann, id)
    const next = await housekeepingOf(server, { batchSize: 500 }).run()
    expect(next.removed.events).toBe(500)
    expect(await seqsKept(id)).toEqual([2501, 2502])
  })
})
