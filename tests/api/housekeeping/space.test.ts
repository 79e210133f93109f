/**
 * Under steady use the embedded database's tables do not grow: the space of expired rows is used again.
 * `bun run test:long` adds and deletes 100,000 items twice, a month apart, and prints what that leaves.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import { makeList, makeTenant, makeUser, type Person, type Tenant } from '../../support/people.ts'
import { isLong, report, rounds } from '../../support/rounds.ts'
import { startServer, type TestServer } from '../../support/server.ts'
import { roundIn, rowsOf } from './setup.ts'

let server: TestServer
let tenant: Tenant
beforeAll(async () => {
  server = await startServer('embedded')
  tenant = await makeTenant(server)
})
afterAll(() => server.stop())

/** Pages of the table, with its indexes. */
const pages = async (): Promise<number> => {
  const [row] = await rowsOf(
    server,
    'system',
    sql<{ pages: number }>`select (pg_total_relation_size('list_events') / 8192)::int as pages`,
  )
  return row?.pages ?? 0
}

/** Rows of the table that statements have read so far. */
const rowsRead = async (): Promise<number> => {
  await rowsOf(server, 'system', sql`select pg_stat_force_next_flush()`)
  const [row] = await rowsOf(
    server,
    'system',
    sql<{ read: number }>`select (seq_tup_read + idx_tup_fetch)::int as read from pg_stat_user_tables
      where relname = 'list_events'`,
  )
  return row?.read ?? 0
}

test('events that expire make room for as many new ones, and are found without reading others again and again', async () => {
  const ann = await makeUser(server, tenant)
  const { id } = await makeList(ann)
  const after: number[] = []
  for (let round = 0; round < 4; round++) {
    await rowsOf(
      server,
      { tenantId: tenant.id },
      sql`insert into list_events (tenant_id, list_id, seq, type, payload, actor_id)
        select ${tenant.id}, ${id}, n, 'item_added', jsonb_build_object('item', repeat('x', 300)), ${ann.id}
        from generate_series(${round * 3000 + 1}::int, ${round * 3000 + 3000}::int) n`,
    )
    // Only what was counted as kept may go.
    await rowsOf(
      server,
      { tenantId: tenant.id },
      sql`update shopping_lists set seq = ${round * 3000 + 3000}::int, counted_seq = ${round * 3000 + 3000}::int where id = ${id}`,
    )
    after.push(await pages())
    const { removed } = await roundIn(server, 31, { batchSize: 1000 })
    expect(removed.events).toBeGreaterThanOrEqual(2999)
  }
  expect(await rowsRead()).toBeLessThan(12_000 * 20)
  const [first = 0, ...others] = after
  for (const size of others) expect(size).toBeLessThan(first * 1.3)
})

if (isLong)
  test('a month of additions and deletions leaves tables and answers as the month before did', async () => {
    const ann = await makeUser(server, tenant)
    const lists = await Promise.all(Array.from({ length: 50 }, async () => (await makeList(ann)).id))
    const perList = rounds('MONTH', { suite: 0, long: 100_000 }) / lists.length
    const p99AtFirst = await p99(ann)
    const month = async () => {
      for (const list of lists) await addAndDelete(ann, list, perList)
      // By the machine's clock nothing of the last day goes.
      const aged = sql`update items set deleted_at = deleted_at - interval '2 days' where deleted_at is not null`
      await rowsOf(server, { tenantId: tenant.id }, aged)
      await roundIn(server, 31)
      const left = { ...(await kilobytes()), ...(await filesOf(server.environment['DATA_DIR'] ?? '')) }
      report(`${lists.length * perList} items added and deleted, kB: ${JSON.stringify(left)}`)
      return left
    }
    const before = await month()
    const after = await month()
    const p99AtLast = await p99(ann)
    report(
      `an item added and its list read, p99: ${p99AtFirst.toFixed(1)} ms, then ${p99AtLast.toFixed(1)} ms`,
    )
    // A list's row leaves its former self with every change, a minute's worth until it is vacuumed.
    const slack = 2048
    for (const [table, size] of Object.entries(after))
      expect(size, table).toBeLessThan(1.5 * (before[table] ?? 0) + slack)
    expect(p99AtLast).toBeLessThan(1.5 * p99AtFirst + 5)
  }, 3_600_000)

async function addAndDelete(ann: Person, list: string, amount: number): Promise<void> {
  const path = `/shopping-lists/${list}/items`
  for (let added = 0; added < amount; added += 200) {
    const items = Array.from({ length: Math.min(200, amount - added) }, (_, n) => ({ name: `Item ${n}` }))
    const { status, body } = await ann.api.post(path, { items })
    expect(status).toBe(201)
    const ids: string[] = body.data.map(({ id }: { id: string }) => id)
    const deleting = async () => {
      for (let id = ids.pop(); id !== undefined; id = ids.pop())
        expect((await ann.api.delete(`/items/${id}`)).status).toBe(204)
    }
    await Promise.all(Array.from({ length: 20 }, deleting))
  }
}

/** Of an item added and its list read, in milliseconds: the least of three, as the machine has other work. */
async function p99(ann: Person): Promise<number> {
  const all: number[] = []
  for (let attempt = 0; attempt < 3; attempt++) {
    const { id } = await makeList(ann)
    const times: number[] = []
    for (let call = 0; call < 300; call++) {
      const begun = performance.now()
      await ann.api.post(`/shopping-lists/${id}/items`, { name: 'Milk' })
      await ann.api.get(`/shopping-lists/${id}`)
      times.push(performance.now() - begun)
    }
    all.push(times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? 0)
  }
  return Math.min(...all)
}

/** Of each table, with its indexes. */
async function kilobytes(): Promise<Record<string, number>> {
  const tables = await rowsOf(
    server,
    'system',
    sql<{
      name: string
      size: number
    }>`select relname::text as name, (pg_total_relation_size(oid) / 1024)::int as size
      from pg_class where relkind = 'r' and (relnamespace = 'public'::regnamespace or relname = 'pg_statistic')`,
  )
  return Object.fromEntries(tables.map(({ name, size }) => [name, size]))
}

/** All of the folder, and of it the write-ahead log. */
async function filesOf(folder: string): Promise<Record<string, number>> {
  const names = await readdir(folder, { recursive: true })
  const sizes = await Promise.all(
    names.map(async (name) => ({ name, size: (await stat(join(folder, name))).size })),
  )
  const sum = (part: string) =>
    sizes.reduce((total, { name, size }) => total + (name.includes(part) ? size : 0), 0)
  return { files: Math.round(sum('') / 1024), pg_wal: Math.round(sum('pg_wal') / 1024) }
}
