import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type SQL, sql } from 'drizzle-orm'
import postgres from 'postgres'
import type { Database } from '../../../src/db/database.ts'
import { describePostgres } from '../../support/postgres.ts'
import { rounds } from '../../support/rounds.ts'
import { until } from '../../support/until.ts'
import { createList, createTenant, failureOf, openTestPostgres } from '../setup.ts'
import { describeDatabase } from '../suite.ts'

/** How often all connections are killed under load. */
const kills = rounds('CONNECTION_KILL', { suite: 4, long: 100 })
const testTimeoutMs = 30_000 + kills * 2000

describePostgres('the database on PostgreSQL', () => {
  describeDatabase(openTestPostgres)

  describe('with several connections', () => {
    let db: Database
    let admin: postgres.Sql
    let end: () => Promise<void>
    beforeAll(async () => {
      const opened = await openTestPostgres({ deadlineMs: 1500 })
      db = opened.db
      admin = postgres(opened.url, { max: 1, onnotice: () => undefined })
      end = () => admin.end({ timeout: 2 }).then(opened.end)
    })
    afterAll(() => end())

    const waitingForLocks = async (): Promise<number> => {
      const [row] = await admin`select count(*)::int as n from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`
      return row?.['n']
    }
    const killAll = () => admin`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()`

    test('calls made while connections are opening keep their tenants', async () => {
      const tenants = [await createTenant(db), await createTenant(db)]
      const readAndWrite = async (index: number): Promise<void> => {
        const tenant = tenants[index % 2]
        if (tenant === undefined) return
        for (let round = 0; round < 3; round += 1)
          expect(await db.read(tenant.scope, sql`select id from tenants`)).toEqual([{ id: tenant.id }])
        const changed = await db
          .write(tenant.scope, sql`update tenants set name = ${tenant.id} returning id`)
          .catch((error) => {
            // Ran on a connection that was killed a moment ago.
            if (error.code === 'database_unavailable') return [{ id: tenant.id }]
            throw error
          })
        expect(changed).toEqual([{ id: tenant.id }])
      }
      for (let round = 0; round < 5; round += 1) {
        await killAll()
        await Promise.all(Array.from({ length: 199 }, (_, index) => readAndWrite(index)))
      }
    })

    test(
      'killed connections never apply half a write, nor expose one tenant to another',
      async () => {
        const tenants = [await createTenant(db), await createTenant(db)]
        const lists = await Promise.all(tenants.map((tenant) => createList(db, tenant)))
        let done = false
        let acknowledged = 0
        let failed = 0
        const bump = (tenantId: string, listId: string | undefined): [SQL, SQL, SQL, SQL] => [
          sql`update shopping_lists set seq = seq + 1 where id = ${listId} returning seq`,
          sql`insert into list_events (tenant_id, list_id, seq, type, payload, actor_id)
            select tenant_id, id, seq, 'bump', '{}', owner_id from shopping_lists where id = ${listId}`,
          sql`update tenants set name = ${listId} where id = ${tenantId}`,
          sql`update shopping_lists set item_count = item_count + 1 where id = ${listId}`,
        ]
        const worker = async (index: number): Promise<void> => {
          const [tenant, listId] = [tenants[index % 2], lists[index % 2]]
          while (!done && tenant !== undefined) {
            const read = db.read(tenant.scope, sql`select id from shopping_lists`)
            const write = db.write(tenant.scope, ...bump(tenant.id, listId))
            const [rows, written] = await Promise.allSettled([read, write])
            if (rows.status === 'fulfilled') expect(rows.value).toEqual([{ id: listId }])
            if (written.status === 'fulfilled') acknowledged += 1
            else {
              failed += 1
              expect(written.reason).toMatchObject({ code: 'database_unavailable' })
            }
          }
        }
        const workers = Promise.all(Array.from({ length: 24 }, (_, index) => worker(index)))
        for (let round = 1; round <= kills; round += 1) {
          const before = acknowledged
          await until(async () => acknowledged > before + 40)
          await killAll()
        }
        done = true
        await workers
        const counted = await Promise.all(
          tenants.map((tenant) =>
            db.read<{ seq: number; items: number; events: number; last: number }>(
              tenant.scope,
              sql`select seq, item_count as items, (select count(*) from list_events) as events,
                  (select max(seq) from list_events) as last from shopping_lists`,
            ),
          ),
        )
        for (const [row] of counted)
          expect(row).toEqual({
            seq: row?.seq ?? 0,
            items: row?.seq ?? 0,
            events: row?.seq ?? 0,
            last: row?.seq ?? 0,
          })
        // Acknowledged writes are there; failed ones may have been committed before the connection was lost.
        const total = counted.reduce((sum, [row]) => sum + (row?.seq ?? 0), 0)
        expect(failed).toBeGreaterThan(0)
        expect(total).toBeGreaterThanOrEqual(acknowledged)
        expect(total).toBeLessThanOrEqual(acknowledged + failed)
      },
      testTimeoutMs,
    )

    test('a read whose connection breaks is retried on another', async () => {
      const [mine] = await db.read<{ pid: number }>('system', sql`select pg_backend_pid() as pid`)
      const slow = db.read<{ pid: number }>('system', sql`select pg_backend_pid() as pid, pg_sleep(0.3)`)
      await until(
        async () =>
          (
            await admin`select 1 from pg_stat_activity where query like '%pg_sleep(0.3)%'
        and state = 'active' and pid <> pg_backend_pid()`
          ).length > 0,
      )
      await killAll()
      expect((await slow)[0]?.pid).not.toBe(mine?.pid)
    })

    test('a write whose connection breaks is not retried', async () => {
      const tenant = await createTenant(db)
      const write = failureOf(
        db.write(
          tenant.scope,
          sql`update tenants set name = name || '!' where id = ${tenant.id}`,
          sql`select pg_sleep(0.4)`,
        ),
      )
      await until(
        async () =>
          (
            await admin`select 1 from pg_stat_activity where query like '%pg_sleep(0.4)%'
        and state = 'active' and pid <> pg_backend_pid()`
          ).length > 0,
      )
      await killAll()
      expect(await write).toMatchObject({ code: 'database_unavailable', status: 503 })
      const [row] = await db.read<{ name: string }>(tenant.scope, sql`select name from tenants`)
      expect(row?.name).toBe('Tenant')
    })

    test('statements that lost their BEGIN change nothing', async () => {
      const sent = await db.read('system', sql`select current_setting('transaction_read_only') as mode`)
      expect(sent).toEqual([{ mode: 'on' }])
    })

    test('a slow statement ends at the deadline with 503', async () => {
      const startedAt = performance.now()
      const error = await failureOf(db.read('system', sql`select pg_sleep(20)`))
      expect(error).toMatchObject({ code: 'database_unavailable', extras: { retryAfterSeconds: 2 } })
      expect(performance.now() - startedAt).toBeLessThan(3000)
      expect(await db.read('system', sql`select 1 as one`)).toEqual([{ one: 1 }])
    })

    test('an interactive transaction that never ends is cut off and its lock released', async () => {
      const tenant = await createTenant(db)
      const stuck = failureOf(
        db.transaction(tenant.scope, async (query) => {
          await query(sql`select id from tenants for update`)
          await new Promise(() => undefined)
        }),
      )
      expect(await stuck).toMatchObject({ code: 'database_unavailable' })
      expect(await db.write(tenant.scope, sql`update tenants set name = 'free' returning name`)).toHaveLength(
        1,
      )
    })

    test('writes that wait for a row do not block the transaction that holds it', async () => {
      const tenant = await createTenant(db)
      const rename = () => db.write(tenant.scope, sql`update tenants set name = name || '+' returning name`)
      const { writes } = await db.transaction(tenant.scope, async (query) => {
        await query(sql`select id from tenants for update`)
        const waiting = Promise.all(Array.from({ length: 30 }, rename))
        await until(async () => (await waitingForLocks()) >= 1)
        await query(sql`update tenants set name = 'held'`)
        return { writes: waiting }
      })
      await writes
      const [row] = await db.read<{ name: string }>(tenant.scope, sql`select name from tenants`)
      expect(row?.name).toBe(`held${'+'.repeat(30)}`)
    })

    test('more transactions than connections all complete', async () => {
      const tenant = await createTenant(db)
      await Promise.all(
        Array.from({ length: 40 }, () =>
          db.transaction(tenant.scope, async (query) => {
            const [row] = await query(sql<{ name: string }>`select name from tenants for update`)
            await query(sql`update tenants set name = ${`${row?.name}+`}`)
          }),
        ),
      )
      const [row] = await db.read<{ name: string }>(tenant.scope, sql`select name from tenants`)
      expect(row?.name).toBe(`Tenant${'+'.repeat(40)}`)
    })

    test('a table altered under prepared statements fails no read, and no write runs outside its transaction', async () => {
      await admin`create table altered (id integer)`
      await admin`grant all on altered to public`
      await admin`insert into altered values (1)`
      const all = sql`select * from altered`
      const add = sql`insert into altered (id) values (${2}) returning *`
      await Promise.all(Array.from({ length: 40 }, () => db.read('system', all)))
      await Promise.all(Array.from({ length: 40 }, () => db.write('system', add)))
      await admin`alter table altered add column more text`
      const outcomes = await Promise.allSettled(Array.from({ length: 40 }, () => db.write('system', add)))
      const lost = outcomes.filter(({ status }) => status === 'rejected').length
      for (const outcome of outcomes)
        if (outcome.status === 'rejected')
          expect(outcome.reason).toMatchObject({ code: 'database_unavailable' })
      expect(lost).toBeGreaterThan(0)
      const [row] = await admin`select count(*)::integer as n from altered`
      expect(row?.['n']).toBe(81 - lost)
      const reads = await Promise.all(Array.from({ length: 40 }, () => db.read('system', all)))
      expect(reads.every((rows) => rows.length === 81 - lost)).toBe(true)
    })

    test('calls beyond the queue limit are refused with 503 immediately', async () => {
      const outcomes = await Promise.allSettled(
        Array.from({ length: 1100 }, () => db.read('system', sql`select 1 as one`)),
      )
      const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))
      expect(refused).toHaveLength(100)
      expect(refused[0]).toMatchObject({ code: 'busy', status: 503 })
    })
  })
})
