/** What both databases guarantee (src/db/database.ts). */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import type { Database } from '../../src/db/database.ts'
import { ConstraintError, StatementError } from '../../src/db/errors.ts'
import { aroundRequest, callLimits, forService, forSocketOf, nameCaller } from '../../src/db/shares.ts'
import { createList, createTenant, failureOf, type Tenant } from './setup.ts'

export function describeDatabase(open: () => Promise<{ db: Database; end: () => Promise<void> }>): void {
  let db: Database
  let end: () => Promise<void> = async () => undefined
  let first: Tenant
  let second: Tenant
  beforeAll(async () => {
    ;({ db, end } = await open())
    first = await createTenant(db)
    second = await createTenant(db)
  })
  afterAll(() => end())

  const listIds = (tenant: Tenant) =>
    db.read<{ id: string }>(tenant.scope, sql`select id from shopping_lists`)
  const renameAll = sql`update shopping_lists set name = 'mine' returning id`

  describe('tenants', () => {
    test('see only their own rows, however calls interleave', async () => {
      const lists = [await createList(db, first), await createList(db, second)]
      const rounds = Array.from({ length: 200 }, (_, round) =>
        listIds(round % 2 === 0 ? first : second).then((rows) => rows.map(({ id }) => id)),
      )
      for (const [round, ids] of (await Promise.all(rounds)).entries())
        expect(ids.join()).toBe(lists[round % 2] ?? '')
    })

    test('change only their own rows', async () => {
      expect(await db.write(first.scope, renameAll)).toHaveLength(1)
      expect(await db.read(second.scope, sql`select id from shopping_lists where name = 'mine'`)).toEqual([])
    })

    test('cannot put a row into another tenant', async () => {
      const error = await failureOf(
        db.write(
          first.scope,
          sql`insert into shopping_lists (tenant_id, id, name, owner_id, created_by) values
            (${second.id}, ${Bun.randomUUIDv7()}, 'List', ${second.userId}, ${second.userId})`,
        ),
      )
      expect(error).toMatchObject({ sqlState: '42501' })
    })

    test('without one, no rows can be seen or changed', async () => {
      const nobody = { tenantId: '' }
      expect(await db.read(nobody, sql`select id from shopping_lists`)).toEqual([])
      expect(await db.read(nobody, sql`select id from users`)).toEqual([])
      expect(await db.write(nobody, renameAll)).toEqual([])
    })

    test('the system scope sees tenants and users, but no lists', async () => {
      const users = await db.read(
        'system',
        sql`select id from users where id in (${first.userId}, ${second.userId})`,
      )
      expect(users).toHaveLength(2)
      expect(await db.read('system', sql`select id from shopping_lists`)).toEqual([])
      expect(await db.write('system', renameAll)).toEqual([])
    })

    test('a tenant id with a quote in it cannot change the scope', async () => {
      const odd = { tenantId: "x'; select set_config('app.scope', 'system', false); --" }
      expect(await failureOf(db.read(odd, sql`select id from users`))).toMatchObject({ sqlState: '22P02' })
      expect(await listIds(first)).toHaveLength(1)
    })
  })

  describe('statements', () => {
    const slugTaken = () =>
      sql`insert into tenants (id, name, slug) values (${Bun.randomUUIDv7()}, 'Again', ${first.id})`

    test('a constraint violation carries the name of the constraint', async () => {
      const error = await failureOf(db.write('system', slugTaken()))
      expect(error).toBeInstanceOf(ConstraintError)
      expect(error).toMatchObject({ constraint: 'tenants_slug_key', sqlState: '23505' })
    })

    test('in one write take effect together or not at all, and the first error is reported', async () => {
      const id = Bun.randomUUIDv7()
      const error = await failureOf(
        db.write(
          'system',
          sql`insert into tenants (id, name, slug) values (${id}, 'Half', ${id})`,
          slugTaken(),
          sql`select id from tenants`,
        ),
      )
      expect(error).toMatchObject({ constraint: 'tenants_slug_key' })
      expect(await db.read('system', sql`select id from tenants where id = ${id}`)).toEqual([])
    })

    test('failing writes do not affect others in their batch', async () => {
      const writes = Array.from({ length: 60 }, (_, index) => {
        const id = Bun.randomUUIDv7()
        return index % 3 === 0
          ? db.write('system', slugTaken())
          : db.write(
              'system',
              sql`insert into tenants (id, name, slug) values (${id}, 'N', ${id}) returning slug`,
            )
      })
      const outcomes = await Promise.allSettled(writes)
      expect(outcomes.map(({ status }) => status)).toEqual(
        outcomes.map((_, index) => (index % 3 === 0 ? 'rejected' : 'fulfilled')),
      )
    })

    test('a read cannot write', async () => {
      const error = await failureOf(db.read(first.scope, renameAll))
      expect(error).toMatchObject({ sqlState: '25006' })
    })

    test('an error reveals nothing people wrote', async () => {
      const error = await failureOf(db.read('system', sql`select ${'secret words'}::integer`))
      expect(error).toBeInstanceOf(StatementError)
      expect(Bun.inspect(error)).not.toContain('secret words')
    })

    test('values come back the same from both databases', async () => {
      const [row] = await db.read(
        'system',
        sql`select 9007199254740991::bigint as big, ${'{"a": [1]}'}::jsonb as json, ${true}::boolean as yes,
          1.50::numeric(4, 2) as exact, ${7}::integer as seven, ${null}::text as nothing,
          '2026-11-22T07:00:00Z'::timestamptz at time zone 'UTC' as at, ${'é😀\\'} as text`,
      )
      expect(row).toEqual({
        big: 9007199254740991,
        json: { a: [1] },
        yes: true,
        exact: '1.50',
        seven: 7,
        nothing: null,
        at: '2026-11-22 07:00:00',
        text: 'é😀\\',
      })
    })

    test('a parameter without a text form is refused without affecting other calls', async () => {
      const good = db.read('system', sql`select 1 as one`)
      const bad = failureOf(db.read('system', sql`select ${sql.param({ a: 1 })}`))
      expect(await bad).toBeInstanceOf(TypeError)
      expect(await good).toEqual([{ one: 1 }])
    })
  })

  describe('the queue', () => {
    const one = () => db.read('system', sql`select 1 as one`)
    const slow = () => db.read('system', sql`select count(*) from generate_series(1, 20000)`)
    /** How many of that many calls at once are refused, and how many answered. */
    const outcomes = async (count: number, call: () => Promise<unknown>) => {
      const settled = await Promise.allSettled(Array.from({ length: count }, call))
      const refused = settled.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))
      for (const reason of refused) expect(reason).toMatchObject({ code: 'busy', status: 503 })
      return { refused: refused.length, answered: count - refused.length }
    }

    test('has a share for each user, one for all who are unsigned, and room for the service beside them', async () => {
      const { perUser, unsigned } = callLimits
      const as = (userId: string, count: number) =>
        aroundRequest(() => {
          nameCaller(userId)
          return outcomes(count, one)
        })()
      const [ann, bob, strangers, service] = await Promise.all([
        as('ann', perUser + 7),
        as('bob', perUser),
        aroundRequest(() => outcomes(unsigned + 5, one))(),
        aroundRequest(() => forService(() => outcomes(unsigned + 5, one)))(),
      ])
      expect({ ann, bob, strangers, service }).toEqual({
        ann: { refused: 7, answered: perUser },
        bob: { refused: 0, answered: perUser },
        strangers: { refused: 5, answered: unsigned },
        service: { refused: 0, answered: unsigned + 5 },
      })
      // What was refused took nothing, and what was answered gave back its place.
      expect(await as('ann', perUser)).toMatchObject({ refused: 0 })
    })

    test('lets the calls of sockets wait for the share of their user', async () => {
      const count = 3 * callLimits.perUser
      expect(await forSocketOf('ann', () => outcomes(count, one))).toEqual({ refused: 0, answered: count })
    })

    test('counts a request for its user from when that is known', async () => {
      const count = callLimits.unsigned + 1
      const named = aroundRequest(async () => {
        nameCaller(Bun.randomUUIDv7())
        return await one()
      })
      expect(await outcomes(count, named)).toEqual({ refused: 0, answered: count })
    })

    test('lets urgent reads go first, and does not count them', async () => {
      await db.readUrgent('system', sql`select 1`)
      let answered = 0
      const others = Array.from({ length: 60 }, () => slow().then(() => answered++))
      expect(await db.readUrgent('system', sql`select 1 as one`)).toEqual([{ one: 1 }])
      expect(answered).toBeLessThan(30)
      await Promise.all(others)
      const all = outcomes(callLimits.total, one)
      expect(await db.readUrgent('system', sql`select 1 as one`)).toEqual([{ one: 1 }])
      expect(await all).toMatchObject({ refused: 0 })
    })
  })

  describe('interactive transactions', () => {
    const insert = (id: string) => sql`insert into tenants (id, name, slug) values (${id}, 'T', ${id})`
    const found = (id: string) => db.read('system', sql`select id from tenants where id = ${id}`)

    test('see their own changes, and take effect as a whole', async () => {
      const ids = [Bun.randomUUIDv7(), Bun.randomUUIDv7()]
      const seen = await db.transaction('system', async (query) => {
        for (const id of ids) await query(insert(id))
        return await query(sql`select id from tenants where id in (${ids[0]}, ${ids[1]}) order by id`)
      })
      expect(seen).toHaveLength(2)
      for (const id of ids) expect(await found(id)).toHaveLength(1)
    })

    test('are rolled back when the work throws', async () => {
      const id = Bun.randomUUIDv7()
      const work = db.transaction('system', async (query) => {
        await query(insert(id))
        throw new Error('changed my mind')
      })
      expect(await failureOf(work)).toMatchObject({ message: 'changed my mind' })
      expect(await found(id)).toEqual([])
    })

    test('never succeed after a swallowed failure', async () => {
      const id = Bun.randomUUIDv7()
      const work = db.transaction('system', async (query) => {
        await query(insert(id))
        await query(insert(id)).catch(() => undefined)
      })
      await failureOf(work)
      expect(await found(id)).toEqual([])
    })

    test('cannot be used after they end', async () => {
      let leaked: (() => Promise<unknown>) | undefined
      await db.transaction('system', async (query) => {
        leaked = () => query(sql`select 1`)
      })
      expect(await failureOf(leaked?.() ?? Promise.resolve())).toMatchObject({ code: 'database_unavailable' })
    })
  })
}
