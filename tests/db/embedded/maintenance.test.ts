/** The embedded database vacuums and analyses what has changed much, a statement at a time. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import type { InstrumentedDatabase } from '../../../src/db/instrumented.ts'
import { openDatabase } from '../../../src/db/open.ts'
import { fillDataDir } from '../../support/data-dir.ts'
import { until } from '../../support/until.ts'
import { createList, createTenant, optionsFor, type Tenant } from '../setup.ts'

let folder: string
let db: InstrumentedDatabase
let tenant: Tenant
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'minimart-maintenance-'))
  await fillDataDir(folder)
  db = await openDatabase(optionsFor(null, folder))
  tenant = await createTenant(db)
})
afterAll(async () => {
  await db.close()
  await rm(folder, { recursive: true, force: true })
})

const addEvents = async (count: number): Promise<void> => {
  const listId = await createList(db, tenant)
  await db.write(
    tenant.scope,
    sql`insert into list_events (tenant_id, list_id, seq, type, payload, actor_id)
      select ${tenant.id}, ${listId}, n, 'item_added', '{}', ${tenant.userId} from generate_series(1, ${count}::int) n`,
  )
}
const maintain = async (proceed = async () => true) => (await db.maintain?.(proceed))?.statements
const counted = async () => {
  const [row] = await db.read(
    'system',
    sql<{
      rows: number
      vacuumed: boolean
      role: string
    }>`select c.reltuples::int as rows, current_user::text as role,
      s.last_vacuum is not null as vacuumed
      from pg_class c join pg_stat_user_tables s on s.relid = c.oid where c.relname = 'list_events'`,
  )
  return row
}

test('a table that changed much is vacuumed and analysed, one that changed little is left alone', async () => {
  await maintain()
  await addEvents(40)
  expect(await maintain()).toBe(0)
  await addEvents(3000)
  const before = await counted()
  expect(await maintain()).toBeGreaterThanOrEqual(2)
  expect(await counted()).toMatchObject({ vacuumed: true, rows: 3040 })
  // As the role that row-level security applies to, again.
  expect(before?.role).toMatch(/^minimart/)
  expect((await counted())?.role).toBe(before?.role ?? '')
  expect(await maintain()).toBe(0)
})

test('after a start, when its changes have not been counted, a table of more than a megabyte is vacuumed', async () => {
  await addEvents(12_000)
  await db.close()
  db = await openDatabase(optionsFor(null, folder))
  expect(await counted()).toMatchObject({ vacuumed: false })
  await maintain()
  expect(await counted()).toMatchObject({ vacuumed: true })
})

test('this happens by itself, once something was written', async () => {
  await db.close()
  db = await openDatabase({ ...optionsFor(null, folder), maintainEveryMs: 50 })
  await createTenant(db)
  await until(async () => (await counted())?.vacuumed, 'a vacuum')
})

test('other calls get their turn before each statement, and the work ends when asked to', async () => {
  await db.close()
  db = await openDatabase(optionsFor(null, folder))
  await addEvents(4000)
  const turns: unknown[] = []
  const done = await maintain(async () => {
    turns.push(await counted())
    return turns.length < 2
  })
  expect(turns).toHaveLength(2)
  expect(done).toBe(1)
})
