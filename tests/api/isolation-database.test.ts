/** The second line of defence: the database itself, asked as the role that the service runs as. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import postgres from 'postgres'
import { addItem, join, makeList, makeTenant, makeUser, type Tenant } from '../support/people.ts'
import { describeFull, sharedServer } from '../support/server.ts'

/** What they hold is nobody's: opaque keys, and the migrations that have run. */
const tenantless = ['schema_migrations', 'store_entries']

describeFull('the database under the role minimart_app', () => {
  let sql: postgres.Sql
  let a: Tenant
  let b: Tenant
  let tables: { name: string; column: string }[]

  beforeAll(async () => {
    const server = await sharedServer('full')
    for (const keep of [(tenant: Tenant) => (a = tenant), (tenant: Tenant) => (b = tenant)]) {
      const tenant = keep(await makeTenant(server))
      const leaving = await makeUser(server, tenant)
      const { id } = await makeList(tenant.admin)
      await join(tenant.admin, id, leaving)
      await addItem(tenant.admin, id)
      await tenant.admin.api.delete(`/users/${leaving.id}`)
    }
    sql = postgres(server.environment['DATABASE_URL'] ?? '', { max: 1, onnotice: () => undefined })
    const found = await sql<{ name: string }[]>`
      select relname as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace order by 1`
    tables = found
      .filter(({ name }) => !tenantless.includes(name))
      .map(({ name }) => ({ name, column: name === 'tenants' ? 'id' : 'tenant_id' }))
  })
  afterAll(() => sql.end({ timeout: 2 }))

  /** As the service's role, in a transaction that is undone. Null: no tenant is set. */
  const as = async <T>(
    tenant: Tenant | null,
    work: (tx: postgres.TransactionSql) => Promise<T>,
  ): Promise<T> => {
    const undo = new Error('undone')
    let result: { value: T } | undefined
    await sql
      .begin(async (tx) => {
        await tx`set local role minimart_app`
        if (tenant) await tx`select set_config('app.tenant_id', ${tenant.id}, true)`
        result = { value: await work(tx) }
        throw undo
      })
      .catch((error: unknown) => {
        if (error !== undo) throw error
      })
    if (!result) throw new Error('nothing ran')
    return result.value
  }
  const sqlState = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'accepted',
      (error: unknown) => (error instanceof postgres.PostgresError ? error.code : String(error)),
    )

  test('every table is protected, also against its owner, but for those without tenants', async () => {
    expect(tables.map(({ name }) => name)).toEqual([
      'items',
      'list_events',
      'list_members',
      'revocations',
      'shopping_lists',
      'tenants',
      'users',
    ])
    const open =
      await sql`select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace
      and not (relrowsecurity and relforcerowsecurity) order by 1`
    expect(open.map(({ relname }) => relname)).toEqual(tenantless)
    const [role] = await sql`select rolsuper, rolbypassrls from pg_roles where rolname = 'minimart_app'`
    expect(role).toEqual({ rolsuper: false, rolbypassrls: false })
    const owned = await sql`select relname from pg_class where pg_get_userbyid(relowner) = 'minimart_app'`
    expect(owned).toHaveLength(0)
  })

  test('without a tenant nothing is visible in any table', async () => {
    for (const { name } of tables) {
      const seen = await as(null, (tx) => tx`select count(*)::int as rows from ${tx(name)}`)
      expect([name, seen[0]?.['rows']]).toEqual([name, 0])
    }
  })

  test('with a tenant, its own rows are visible and no others', async () => {
    for (const tenant of [a, b])
      for (const { name, column } of tables) {
        const seen = await as(
          tenant,
          (tx) => tx`select count(*)::int as rows, count(distinct ${tx(column)})::int as tenants,
            min(${tx(column)}::text) as tenant from ${tx(name)}`,
        )
        expect([name, seen[0]?.['tenants'], seen[0]?.['tenant']]).toEqual([name, 1, tenant.id])
        const [all] =
          await sql`select count(*)::int as rows from ${sql(name)} where ${sql(column)} = ${tenant.id}`
        expect(seen[0]?.['rows']).toBe(all?.['rows'])
      }
  })

  test('rows of another tenant can be neither changed nor taken away', async () => {
    for (const { name, column } of tables) {
      const other = sql`${sql(column)} = ${b.id}`
      const changed = sqlState(
        as(a, (tx) => tx`update ${tx(name)} set ${tx(column)} = ${a.id} where ${other}`.then(refuseRows)),
      )
      expect([name, await changed]).toEqual([name, name === 'list_events' ? '42501' : 'accepted'])
      const removed = await sqlState(
        as(a, (tx) => tx`delete from ${tx(name)} where ${other}`.then(refuseRows)),
      )
      expect(['accepted', '42501']).toContain(removed)
    }
  })

  test('no row can be put into another tenant, nor moved there', async () => {
    for (const { name, column } of tables) {
      const [row] = await sql`select * from ${sql(name)} where ${sql(column)} = ${b.id} limit 1`
      if (!row) throw new Error(`${name} is empty`)
      const put = as(a, (tx) => tx`insert into ${tx(name)} ${tx(row as Record<string, string>)}`)
      expect([name, await sqlState(put)]).toEqual([name, '42501'])
      const moved = as(a, (tx) => tx`update ${tx(name)} set ${tx(column)} = ${b.id}`)
      expect([name, await sqlState(moved)]).toEqual([name, '42501'])
    }
  })

  test('the system scope opens no table of lists', async () => {
    for (const name of ['shopping_lists', 'list_members', 'items', 'list_events']) {
      const seen = await as(null, async (tx) => {
        await tx`select set_config('app.scope', 'system', true)`
        return tx`select count(*)::int as rows from ${tx(name)}`
      })
      expect([name, seen[0]?.['rows']]).toEqual([name, 0])
    }
  })
})

const refuseRows = (answer: { count: number }): void => {
  if (answer.count > 0) throw new Error(`${answer.count} rows were reached`)
}
