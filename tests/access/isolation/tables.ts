/** Reads and restores whole tables as the database's owner, past row-level security. */
import { type SQL, sql } from 'drizzle-orm'
import type { Query } from '../../../src/db/database.ts'
import type { TestServer } from '../../support/server.ts'
import type { Half } from './mirror.ts'

export interface TenantTable {
  name: string
  /** The column with the tenant's id. */
  column: string
}

/** The test connects as the owner and drops to the service's role; this returns to the owner. */
export const asOwner = <T>(server: TestServer, work: (query: Query) => Promise<T>): Promise<T> =>
  server.running.deps.db.transaction('system', async (query) => {
    await query(sql`set local role none`)
    return work(query)
  })

/** Every table with tenants' rows, from the database's catalog. */
export const findTenantTables = (server: TestServer): Promise<TenantTable[]> =>
  asOwner(server, (query) =>
    query(sql<TenantTable>`
      select c.relname::text as name, case c.relname when 'tenants' then 'id' else 'tenant_id' end as "column"
      from pg_class c
      where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace and (c.relname = 'tenants'
        or exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped))
      order by 1`),
  )

const together = (parts: SQL[], by = sql` union all `): SQL => sql.join(parts, by)

/** Anonymous attempts to sign in or verify at an address are recorded and counted for that address's tenant. */
const butFor: Record<string, SQL> = {
  audit_log: sql`and not (t.actor_id is null and t.action like 'auth.%')`,
  refusal_counts: sql`and t.action <> 'auth.refusals_counted'`,
}

/** Checksum and row count of each table of the tenant, and of its users' sessions. */
export async function checksum(
  server: TestServer,
  { tenant, people }: Half,
): Promise<Record<string, string>> {
  const tables = await findTenantTables(server)
  const sums = await asOwner(server, (query) =>
    query(
      sql<{ name: string; sum: string }>`${together(
        tables.map(
          ({ name, column }) => sql`select ${name}::text as name, count(*) || ' ' || coalesce(
          md5(string_agg(t::text, '|' order by t::text)), '') as sum
          from ${sql.identifier(name)} t where t.${sql.identifier(column)} = ${tenant.id} ${butFor[name] ?? sql``}`,
        ),
      )}`,
    ),
  )
  const sessions = await Promise.all(
    Object.values(people).map(({ id }) => server.running.deps.store.get(`sessions:${id}`)),
  )
  return {
    ...Object.fromEntries(sums.map(({ name, sum }) => [name, sum])),
    sessions: Bun.hash(JSON.stringify(sessions)).toString(36),
  }
}

/** Removes lists and items from a tenant without a trace. */
export const removeRows = (server: TestServer, { tenant }: Half, ids: readonly string[]): Promise<void> =>
  asOwner(server, async (query) => {
    const these = sql`(${sql.join(
      ids.map((id) => sql`${id}::uuid`),
      sql`, `,
    )})`
    const columns = {
      list_events: 'list_id',
      list_members: 'list_id',
      items: 'list_id',
      shopping_lists: 'id',
    }
    await query(sql`delete from items where tenant_id = ${tenant.id} and id in ${these}`)
    for (const [table, column] of Object.entries(columns))
      await query(
        sql`delete from ${sql.identifier(table)} where tenant_id = ${tenant.id} and ${sql.identifier(column)} in ${these}`,
      )
  })

/** Copies every table's rows and returns a function that restores them. */
export async function keepRows(server: TestServer): Promise<() => Promise<void>> {
  const names = (await findTenantTables(server)).map(({ name }) => name)
  const each = (...works: ((name: string) => SQL)[]): Promise<void> =>
    asOwner(server, async (query) => {
      // Rows may refer to rows that are not restored yet.
      await query(sql`set local session_replication_role = replica`)
      for (const work of works) for (const name of names) await query(work(name))
    })
  await asOwner(server, (query) => query(sql`create schema kept`))
  await each((name) => sql`create table kept.${sql.identifier(name)} as table ${sql.identifier(name)}`)
  return () =>
    each(
      (name) => sql`delete from ${sql.identifier(name)}`,
      (name) => sql`insert into ${sql.identifier(name)} select * from kept.${sql.identifier(name)}`,
    )
}

export const setRowSecurity = async (server: TestServer, on: boolean): Promise<void> => {
  const tables = await findTenantTables(server)
  await asOwner(server, async (query) => {
    for (const { name } of tables)
      await query(
        sql`alter table ${sql.identifier(name)} ${sql.raw(on ? 'enable' : 'disable')} row level security`,
      )
  })
}
