/**
 * The second line of defence: row-level security, queried directly with the service's role. Tables come from the
 * catalog, so that new ones are covered too.
 */
import { beforeAll, expect, test } from 'bun:test'
import { type SQL, sql } from 'drizzle-orm'
import type { Scope } from '../../../src/db/database.ts'
import { ConstraintError, StatementError } from '../../../src/db/errors.ts'
import { describeBackends } from '../../support/server.ts'
import { type Mirror, mirrorOn } from './mirror.ts'
import { asOwner, findTenantTables, type TenantTable } from './tables.ts'

/** These belong to no tenant: the database's own row, the applied migrations and opaque keys. */
const tenantless = ['installation', 'schema_migrations', 'store_entries']

/** What each cross-tenant scope can see; everything else is closed to it. */
const opened: Record<Extract<Scope, string>, Record<string, readonly Right[]>> = {
  system: {
    tenants: ['reads', 'adds', 'changes', 'locks'],
    users: ['reads', 'adds', 'changes', 'locks'],
    revocations: ['reads', 'adds', 'changes', 'locks', 'clears'],
    audit_log: ['adds'],
    refusal_counts: ['reads', 'adds', 'changes', 'locks'],
    mail_outbox: ['adds'],
  },
  outbox: { mail_outbox: ['reads', 'adds', 'changes', 'locks', 'clears'] },
  streams: { shopping_lists: ['reads'], list_events: ['reads'] },
  housekeeping: {
    tenants: ['reads', 'locks'],
    // Only unverified users can be deleted, and there are none here.
    users: ['reads', 'changes', 'locks'],
    shopping_lists: ['reads', 'changes', 'locks'],
    list_events: ['reads', 'clears'],
    // Deleted ones, of which those here are too young to be cleared away.
    items: ['reads'],
    keyed_calls: ['reads', 'clears'],
    revocations: ['reads', 'locks', 'clears'],
    spent_invitations: ['reads', 'clears'],
    audit_log: ['reads', 'adds'],
    refusal_counts: ['reads'],
  },
}
type Right = 'reads' | 'adds' | 'changes' | 'locks' | 'clears'
const scopesBeyond = Object.keys(opened) as (keyof typeof opened)[]

const nobody: Scope = { tenantId: '' }
const nowhere: Scope = { tenantId: Bun.randomUUIDv7() }
/** SQLSTATE for a row-level security violation or a missing privilege. */
const refused = '42501'

describeBackends("the database, for the service's role", (backend) => {
  let mirror: Mirror
  let tables: TenantTable[]
  let mine: Scope
  /** One of their rows in each table, as JSON. */
  let theirRows: Record<string, string>

  beforeAll(async () => {
    mirror = await mirrorOn(backend)
    tables = await findTenantTables(mirror.server)
    mine = { tenantId: mirror.mine.tenant.id }
    const { id } = mirror.theirs.tenant
    theirRows = {}
    for (const { name, column } of tables) {
      const [found] = await owner(
        sql<{ row: string }>`select to_jsonb(t)::text as row from ${sql.identifier(name)} t
          where ${sql.identifier(column)} = ${id} limit 1`,
      )
      if (found) theirRows[name] = found.row
    }
  })

  const owner = <Row>(statement: SQL<Row>): Promise<Row[]> =>
    asOwner(mirror.server, (query) => query(statement))

  /** The rows returned, or the SQLSTATE; rolls back. */
  const attempt = async <Row>(scope: Scope, statement: SQL<Row>): Promise<Row[] | string> => {
    const undo = new Error('undone')
    let rows: Row[] = []
    try {
      await mirror.server.running.deps.db.transaction(scope, async (query) => {
        rows = await query(statement)
        throw undo
      })
    } catch (error) {
      if (error instanceof StatementError || error instanceof ConstraintError) return error.sqlState
      if (error !== undo) throw error
    }
    return rows
  }

  const tenantsSeen = (scope: Scope, { name, column }: TenantTable) =>
    attempt(
      scope,
      sql<{
        tenant: string
        rows: number
      }>`select ${sql.identifier(column)}::text as tenant, count(*)::int as rows
        from ${sql.identifier(name)} group by 1 order by 1`,
    )

  const put = (scope: Scope, name: string) => {
    const row = theirRows[name]
    if (row === undefined) throw new Error(`${name} is empty: fill it in tests/access/isolation/mirror.ts`)
    const table = sql.identifier(name)
    return attempt(
      scope,
      sql`insert into ${table} select * from jsonb_populate_record(null::${table}, ${row}::jsonb)`,
    )
  }

  /** How many rows an update, lock or delete reaches, or its SQLSTATE. */
  const reached = async (scope: Scope, { name, column }: TenantTable): Promise<(number | string)[]> => {
    const table = sql.identifier(name)
    const tenant = sql.identifier(column)
    const ofBoth = sql`where ${tenant} in (${mirror.mine.tenant.id}, ${mirror.theirs.tenant.id})`
    const ways = [
      sql`update ${table} set ${tenant} = ${tenant} ${ofBoth} returning 1`,
      sql`delete from ${table} ${ofBoth} returning 1`,
      sql`select 1 from ${table} ${ofBoth} for update`,
    ]
    const outcomes: (number | string)[] = []
    for (const way of ways) {
      const outcome = await attempt(scope, way)
      outcomes.push(typeof outcome === 'string' ? outcome : outcome.length)
    }
    return outcomes
  }

  test("every table with tenants' rows has row-level security, forced on its owner too", async () => {
    expect(tables.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        ...['items', 'list_events', 'list_members', 'refusal_counts', 'revocations'],
        ...['shopping_lists', 'spent_invitations', 'tenants', 'users'],
      ]),
    )
    const open = await owner(
      sql<{ name: string }>`select relname::text as name from pg_class
        where relkind in ('r', 'p', 'v', 'm', 'f') and relnamespace = 'public'::regnamespace
          and not (relrowsecurity and relforcerowsecurity) order by 1`,
    )
    expect(open.map(({ name }) => name)).toEqual(tenantless)
    expect(tables.filter(({ name }) => tenantless.includes(name))).toEqual([])
    const nullable = await owner(
      sql<{ name: string }>`select attrelid::regclass::text as name from pg_attribute a
        join pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'p')
        where c.relnamespace = 'public'::regnamespace and attname = 'tenant_id' and not attnotnull`,
    )
    expect(nullable).toEqual([])
  })

  test('the service runs as a role that row-level security applies to and that owns nothing', async () => {
    const { db } = mirror.server.running.deps
    const own = sql`'minimart_app_' || (select oid from pg_database where datname = current_database())`
    for (const scope of [mine, nobody, ...scopesBeyond])
      expect(await db.read(scope, sql`select current_user = ${own} as own`)).toEqual([{ own: true }])
    expect(await owner(sql`select rolsuper, rolbypassrls from pg_roles where rolname = ${own}`)).toEqual([
      { rolsuper: false, rolbypassrls: false },
    ])
    const owned = sql`select relname::text from pg_class where pg_get_userbyid(relowner) = ${own}`
    expect(await owner(owned)).toEqual([])
  })

  test('without a tenant, or with an invalid one, nothing can be read or written', async () => {
    for (const scope of [nobody, nowhere])
      for (const table of tables) {
        expect([table.name, await tenantsSeen(scope, table)]).toEqual([table.name, []])
        for (const outcome of await reached(scope, table)) expect([0, refused]).toContain(outcome)
        expect([table.name, await put(scope, table.name)]).toEqual([table.name, refused])
      }
  })

  test('a tenant sees all of its own rows and no others', async () => {
    for (const { tenant } of [mirror.mine, mirror.theirs])
      for (const table of tables) {
        const [all] = await owner(
          sql<{ rows: number }>`select count(*)::int as rows from ${sql.identifier(table.name)}
            where ${sql.identifier(table.column)} = ${tenant.id}`,
        )
        const seen = await tenantsSeen({ tenantId: tenant.id }, table)
        expect([table.name, seen]).toEqual([table.name, [{ tenant: tenant.id, rows: all?.rows ?? 0 }]])
      }
  })

  test('rows of another tenant cannot be changed, locked or deleted', async () => {
    for (const { name, column } of tables) {
      const theirs = sql`where ${sql.identifier(column)} = ${mirror.theirs.tenant.id}`
      const table = sql.identifier(name)
      for (const way of [
        sql`update ${table} set ${sql.identifier(column)} = ${mirror.mine.tenant.id} ${theirs} returning 1`,
        sql`update ${table} set ${sql.identifier(column)} = ${sql.identifier(column)} ${theirs} returning 1`,
        sql`delete from ${table} ${theirs} returning 1`,
        sql`select 1 from ${table} ${theirs} for update`,
      ]) {
        const outcome = await attempt(mine, way)
        expect([name, typeof outcome === 'string' ? outcome : outcome.length]).toEqual([
          name,
          typeof outcome === 'string' ? refused : 0,
        ])
      }
    }
  })

  test('no row can be inserted into another tenant or moved there', async () => {
    for (const { name, column } of tables) {
      expect([name, await put(mine, name)]).toEqual([name, refused])
      const tenant = sql.identifier(column)
      const moved = await attempt(
        mine,
        sql`update ${sql.identifier(name)} set ${tenant} = ${mirror.theirs.tenant.id}`,
      )
      expect([name, moved]).toEqual([name, refused])
    }
  })

  test('a cross-tenant scope can read and write only the tables it is meant for', async () => {
    for (const scope of scopesBeyond)
      for (const table of tables) {
        const { name } = table
        const rights = opened[scope][name] ?? []
        const seen = await tenantsSeen(scope, table)
        const isSeen = (id: string) => typeof seen !== 'string' && seen.some(({ tenant }) => tenant === id)
        const both = [mirror.mine.tenant.id, mirror.theirs.tenant.id].map(isSeen)
        expect([scope, name, ...both]).toEqual([
          scope,
          name,
          rights.includes('reads'),
          rights.includes('reads'),
        ])
        if (!rights.includes('reads')) expect([scope, name, seen]).toEqual([scope, name, []])
        const [changed, cleared, locked] = await reached(scope, table)
        for (const [right, outcome] of Object.entries({ changes: changed, clears: cleared, locks: locked })) {
          const reachedAny = outcome !== 0 && outcome !== refused
          expect([scope, name, right, reachedAny]).toEqual([
            scope,
            name,
            right,
            rights.some((one) => one === right),
          ])
        }
        // The row exists already, so whoever may write gets a unique violation.
        expect([scope, name, await put(scope, name)]).toEqual([
          scope,
          name,
          rights.includes('adds') ? '23505' : refused,
        ])
      }
  })

  test('an unknown scope opens nothing', async () => {
    const { db } = mirror.server.running.deps
    for (const name of ['', 'System', 'system ', 'all']) {
      for (const table of tables) {
        let rows: unknown[] = []
        await db.transaction(nobody, async (query) => {
          await query(sql`select set_config('app.scope', ${name}, true)`)
          rows = await query(sql`select 1 from ${sql.identifier(table.name)} limit 1`)
        })
        expect([name, table.name, rows]).toEqual([name, table.name, []])
      }
    }
  })
})
