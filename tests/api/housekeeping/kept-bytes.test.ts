/** What a tenant may keep: TENANT_MAX_LISTS and TENANT_MAX_MB. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { createClient } from '../../support/client.ts'
import { outcome } from '../../support/history.ts'
import { addItem, makeList, makeTenant, type Tenant } from '../../support/people.ts'
import {
  cheapHashes,
  describeBackends,
  startInstance,
  startServer,
  type TestServer,
} from '../../support/server.ts'
import { until } from '../../support/until.ts'
import { roundIn, rowsOf } from './setup.ts'

const maxLists = 4
const megabyte = 1024 ** 2
const long = { name: 'Long', note: 'x'.repeat(2000) }

describeBackends('what a tenant may keep', (backend) => {
  let server: TestServer

  beforeAll(async () => {
    server = await startServer(backend, { TENANT_MAX_LISTS: String(maxLists), TENANT_MAX_MB: '1' })
  })
  afterAll(() => server.stop())

  const counted = () => server.running.keptBytes.count()
  const adding = ({ admin }: Tenant, listId: string, body: unknown) =>
    admin.api.post(`/shopping-lists/${listId}/items`, body)
  const creating = ({ admin }: Tenant, body: object = { name: 'One more' }) =>
    admin.api.post('/shopping-lists', body)
  /** The tenant's counter and what it should be. */
  const kept = async ({ id }: Tenant) => {
    const [row] = await rowsOf(
      server,
      { tenantId: id },
      sql<{ counter: number; sum: number }>`
        select kept_bytes as counter,
          (select coalesce(sum(octet_length(concat(name, description))), 0) from shopping_lists)
          + (select coalesce(sum(octet_length(concat(name, unit, note, category))), 0) from items where deleted_at is null)
          + (select coalesce(sum(octet_length(payload::text)), 0) from list_events) as sum
        from tenants where id = ${id}`,
    )
    return row ?? { counter: -1, sum: -1 }
  }
  const exact = async (tenant: Tenant): Promise<number> => {
    const { counter, sum } = await kept(tenant)
    expect(counter).toBe(Number(sum))
    return counter
  }

  test('lists, deleted ones included, are counted exactly, also when they are made at the same moment', async () => {
    const tenant = await makeTenant(server)
    const first = { id: Bun.randomUUIDv7(), name: 'First' }
    expect((await creating(tenant, first)).status).toBe(201)
    const answers = await Promise.all(Array.from({ length: 10 }, () => creating(tenant)))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(maxLists - 1)
    expect(answers.map(outcome).filter((text) => text === '409 tenant_full')).toHaveLength(11 - maxLists)

    expect((await creating(tenant, first)).status).toBe(200)
    await tenant.admin.api.delete(`/shopping-lists/${first.id}`)
    expect(outcome(await creating(tenant))).toBe('409 tenant_full')
    expect(outcome(await creating(tenant, first))).toBe('409 id_deleted')
    expect((await tenant.admin.api.post(`/shopping-lists/${first.id}/restore`)).status).toBe(200)
    expect((await adding(tenant, first.id, { name: 'Milk' })).status).toBe(201)
    expect((await creating(await makeTenant(server))).status).toBe(201)
  })

  test('text: nothing can be added once the count has found too much, all else can; nor is another tenant refused', async () => {
    const [full, other] = [await makeTenant(server), await makeTenant(server)]
    const { admin } = full
    const [{ id }, spare, theirs] = [
      await makeList(admin),
      await makeList(admin),
      await makeList(other.admin),
    ]
    const item = await addItem(admin, id)
    // Half of it as items, and as much again as their events.
    for (let call = 0; call < 2; call++)
      expect((await adding(full, id, { items: Array.from({ length: 130 }, () => long) })).status).toBe(201)
    await counted()
    expect(await exact(full)).toBeGreaterThan(megabyte)
    await adding(other, theirs.id, { items: Array.from({ length: 100 }, () => long) })

    const path = `/shopping-lists/${id}`
    for (const answer of [
      await adding(full, id, { name: 'x' }),
      await adding(full, spare.id, { items: [{ name: 'x' }] }),
      await admin.api.patch(`/items/${item.id}`, { note: 'more' }),
      await admin.api.patch(path, { description: 'more' }),
      await creating(full),
    ])
      expect(outcome(answer)).toBe('409 tenant_full')
    for (const answer of [
      await admin.api.patch(`/items/${item.id}`, { status: 'purchased' }),
      await admin.api.patch(path, { name: 'G' }),
      await admin.api.post(`${path}/items/clear-purchased`),
      await admin.api.delete(path),
      await admin.api.post(`${path}/restore`),
      await admin.api.get(path),
      await adding(other, theirs.id, { name: 'x' }),
      await creating(other),
    ])
      expect(answer.status).toBeWithin(200, 300)

    // As the events expire, but for each list's last, there is room.
    const { outcome: ended, removed } = await roundIn(server, 31, { batchSize: 50 })
    expect([ended, removed.events > 260]).toEqual(['done', true])
    expect(outcome(await creating(full))).toBe('409 tenant_full')
    await counted()
    expect(await exact(full)).toBeLessThan(megabyte)
    expect((await adding(full, id, { name: 'x' })).status).toBe(201)
    expect((await creating(full)).status).toBe(201)
  })

  test('the count is exact after changes of every kind, while others write, and from nothing as after an upgrade', async () => {
    const tenant = await makeTenant(server)
    const { admin } = tenant
    const { id } = await makeList(admin, 'Überraschung')
    const second = await makeList(admin)
    const writing = Promise.all(
      Array.from({ length: 12 }, async (_, turn) => {
        await adding(tenant, turn % 2 ? id : second.id, {
          items: Array.from({ length: 25 }, () => ({ name: 'Öl' })),
        })
        const item = await addItem(admin, id)
        await admin.api.patch(`/items/${item.id}`, { note: 'größer', status: 'purchased' })
        await admin.api.delete(`/items/${item.id}`)
      }),
    )
    for (let turn = 0; turn < 5; turn++) await counted()
    await writing
    await counted()
    const bytes = await exact(tenant)
    await roundIn(server, 31, { batchSize: 20, maxBatches: 3 })
    await counted()
    expect(await kept(tenant)).toEqual({ counter: bytes, sum: expect.anything() })

    await addItem(admin, id)
    await counted()
    expect(await exact(tenant)).toBeLessThan(bytes)
    const scope = { tenantId: tenant.id }
    await rowsOf(
      server,
      scope,
      sql`update shopping_lists set text_bytes = null, text_seq = null, event_bytes = 0, counted_seq = -1`,
    )
    await rowsOf(server, scope, sql`update tenants set kept_bytes = 0`)
    await counted()
    expect(await exact(tenant)).toBeGreaterThan(0)
  })

  if (backend === 'full')
    test('of two lists that are made on two instances at the same moment, the last place is for one', async () => {
      const tenant = await makeTenant(server)
      for (let made = 1; made < maxLists; made++) expect((await creating(tenant)).status).toBe(201)
      const other = await startInstance(server)
      const there = createClient(other.url, tenant.admin.accessToken)
      const admin = postgres(server.environment['DATABASE_URL'] ?? '', { max: 2, onnotice: () => undefined })
      const waiting = async () => {
        const [row] = await admin`select count(*)::int as count from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock'`
        return row?.['count'] === 2
      }
      // A new list looks at its owner's row once it has counted the others.
      const answers = await admin.begin(async (held) => {
        await held`select from users where id = ${tenant.admin.id} for update`
        const asked = Promise.all([creating(tenant), there.post('/shopping-lists', { name: 'One more' })])
        await until(waiting, 'both waiting')
        return { asked }
      })
      expect((await answers.asked).map(outcome).toSorted()).toEqual(['201', '409 tenant_full'])
      await other.stop()
      await admin.end()
    })

  if (backend === 'full')
    test('an instance counts without being asked, from its start', async () => {
      const tenant = await makeTenant(server)
      await makeList(tenant.admin)
      expect((await kept(tenant)).counter).toBe(0)
      const other = await startInstance(server, {}, { ...cheapHashes, countsKept: true })
      await until(async () => (await kept(tenant)).counter > 0, 'the count')
      await other.stop()
    })
})
