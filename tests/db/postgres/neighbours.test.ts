/** What one tenant's calls wait for, another's do not. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import type { Database, Scope } from '../../../src/db/database.ts'
import { openDatabase } from '../../../src/db/open.ts'
import { describePostgres } from '../../support/postgres.ts'
import { startProxy } from '../../support/proxy.ts'
import { until } from '../../support/until.ts'
import { createList, createTenant, failureOf, openTestPostgres, optionsFor, type Tenant } from '../setup.ts'

/** As in production. */
const poolSize = 13

describePostgres('neighbours on PostgreSQL', () => {
  let db: Database
  let admin: postgres.Sql
  let end: () => Promise<void>
  let busy: Tenant
  let quiet: Tenant
  beforeAll(async () => {
    const opened = await openTestPostgres({ poolSize })
    db = opened.db
    admin = postgres(opened.url, { max: 2, onnotice: () => undefined })
    end = () => admin.end({ timeout: 2 }).then(opened.end)
    busy = await createTenant(db)
    quiet = await createTenant(db)
  })
  afterAll(() => end())

  const bump = (tenant: Tenant, row: string, note = ''): Promise<{ seq: number }[]> =>
    db.write(
      { tenantId: tenant.id, row: { name: row, find: async () => row } },
      sql`select from shopping_lists where id = ${row} for no key update`,
      sql<{
        seq: number
      }>`update shopping_lists set seq = seq + 1, description = ${note} where id = ${row} returning seq`,
    )
  const read = (scope: Scope, seconds = 0) =>
    db.read(scope, sql<{ pid: number }>`select pg_backend_pid() as pid, pg_sleep(${seconds}::float)`)

  /** Holds the list's row while `work` runs. */
  const whileLocked = (listId: string, work: () => Promise<void>): Promise<unknown> =>
    admin.begin(async (holder) => {
      await holder`select from shopping_lists where id = ${listId} for update`
      await work()
    })
  const backends = async (condition: string): Promise<number> => {
    const [row] = await admin.unsafe(
      `select count(*)::int as n from pg_stat_activity where datname = current_database() and ${condition}`,
    )
    return row?.['n']
  }
  const waitingForLocks = () => backends(`wait_event_type = 'Lock'`)

  test('writers of a locked row wait in the process, and then write in the order in which they came', async () => {
    const list = await createList(db, busy)
    const other = await createList(db, busy)
    const theirs = await createList(db, quiet)
    let writes: Promise<{ seq: number }[][]> | undefined
    await whileLocked(list, async () => {
      writes = Promise.all(Array.from({ length: 40 }, (_, index) => bump(busy, list, String(index))))
      await until(async () => (await waitingForLocks()) > 0, 'a wait for the lock')
      for (let round = 0; round < 20; round++) {
        expect(await bump(quiet, theirs)).toHaveLength(1)
        expect(await read(quiet.scope)).toHaveLength(1)
        expect(await db.readUrgent('system', sql`select 1`)).toHaveLength(1)
        // Nor do they hold up the other lists of their own tenant.
        expect(await bump(busy, other)).toHaveLength(1)
        expect(await read(busy.scope)).toHaveLength(1)
      }
      expect(await waitingForLocks()).toBe(1)
    })
    const seqs = (await writes)?.map(([row]) => row?.seq)
    // The first two were under way together, and the third may start when one of them has to begin again.
    expect(new Set(seqs?.splice(0, 3))).toEqual(new Set([1, 2, 3]))
    expect(seqs).toEqual(Array.from({ length: 37 }, (_, index) => index + 4))
  })

  test('writers of many locked rows leave connections to other tenants', async () => {
    const lists = await Promise.all(Array.from({ length: 40 }, () => createList(db, busy)))
    const theirs = await createList(db, quiet)
    let writes: Promise<unknown> | undefined
    await admin.begin(async (holder) => {
      await holder`select from shopping_lists where tenant_id = ${busy.id} for update`
      writes = Promise.all(lists.map((list) => bump(busy, list)))
      await until(async () => (await waitingForLocks()) > 3, 'waits for the locks')
      for (let round = 0; round < 20; round++) expect(await bump(quiet, theirs)).toHaveLength(1)
      expect(await waitingForLocks()).toBeLessThan(poolSize)
    })
    await writes
  })

  test('slow reads of one tenant leave a connection to the others', async () => {
    let ended = false
    const slow = Promise.all(Array.from({ length: 40 }, () => read(busy.scope, 0.4))).then(() => {
      ended = true
    })
    await until(
      async () => (await backends(`query like '%pg_sleep%' and state = 'active'`)) > 1,
      'slow reads',
    )
    for (let round = 0; round < 20; round++) await read(quiet.scope)
    expect(ended).toBe(false)
    await slow
  })

  test('too many writers of one row are refused with 503 at once', async () => {
    const list = await createList(db, busy)
    let outcomes: Promise<PromiseSettledResult<unknown>[]> | undefined
    await whileLocked(list, async () => {
      outcomes = Promise.allSettled(Array.from({ length: 260 }, () => bump(busy, list)))
      const refused = await failureOf(bump(busy, list))
      expect(refused).toMatchObject({ code: 'busy', status: 503 })
    })
    const refused = (await outcomes)?.filter(({ status }) => status === 'rejected').length ?? 0
    expect(refused).toBeWithin(50, 60)
  })

  test('writers who do not know their row ask for it when it is locked, and then wait in the process as well', async () => {
    const list = await createList(db, busy)
    const other = await createList(db, busy)
    const asked: string[] = []
    const unknowing = (name: string) =>
      db.write(
        {
          tenantId: busy.id,
          row: {
            name,
            find: async () => {
              asked.push(name)
              return list
            },
          },
        },
        sql`select from shopping_lists where id = ${list} for no key update`,
        sql<{ seq: number }>`update shopping_lists set seq = seq + 1 where id = ${list} returning seq`,
      )
    const names = Array.from({ length: 20 }, (_, index) => `item ${index}`)
    let writes: Promise<{ seq: number }[][]> | undefined
    await whileLocked(list, async () => {
      writes = Promise.all(names.map(unknowing))
      await until(() => asked.length === names.length, 'the questions')
      await until(async () => (await waitingForLocks()) === 1, 'the wait of one')
      for (let round = 0; round < 20; round++) expect(await bump(busy, other)).toHaveLength(1)
      expect(await waitingForLocks()).toBe(1)
    })
    // Each was made once, though it was sent twice.
    const seqs = (await writes)?.map(([row]) => row?.seq ?? 0).toSorted((one, two) => one - two)
    expect(seqs).toEqual(names.map((_, index) => index + 1))
  })
})

describePostgres('a late call', () => {
  test('is given up, and those behind it keep the connection', async () => {
    const { db, end } = await openTestPostgres({ poolSize: 2, deadlineMs: 3000 })
    try {
      const { scope } = await createTenant(db)
      const pid = sql<{ pid: number }>`select pg_backend_pid() as pid`
      const slow = () => db.read(scope, sql`select pg_sleep(1.8)`)
      const [before] = await db.read(scope, pid)
      // Over the one connection that reads may have here: in time, and too late.
      const first = slow()
      const late = failureOf(slow())
      await first
      const behind = db.read(scope, pid)
      expect(await late).toMatchObject({ code: 'database_unavailable' })
      expect(await behind).toEqual([{ pid: before?.pid ?? 0 }])
    } finally {
      await end()
    }
  })

  test('is what ends a connection on which nothing is answered, once nobody waits for it any longer', async () => {
    const opened = await openTestPostgres()
    const { hostname, port } = new URL(opened.url)
    const network = await startProxy(`http://${hostname}:${port}`)
    const through = Object.assign(new URL(opened.url), { host: new URL(network.url).host })
    const db = await openDatabase({ ...optionsFor(through.href), poolSize: 2, deadlineMs: 500 })
    try {
      await db.read('system', sql`select 1`)
      network.drop()
      const failed = await failureOf(db.read('system', sql`select 1`))
      expect(failed).toMatchObject({ code: 'database_unavailable' })
      network.flow()
      await until(
        () =>
          db.read('system', sql`select 1`).then(
            () => true,
            () => false,
          ),
        'a new connection',
      )
    } finally {
      await db.close()
      await network.stop()
      await opened.end()
    }
  })
})
