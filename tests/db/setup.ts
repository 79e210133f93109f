import { sql } from 'drizzle-orm'
import type { Database, Scope } from '../../src/db/database.ts'
import { type DatabaseOptions, openDatabase } from '../../src/db/open.ts'
import { createLogger } from '../../src/log.ts'
import { testPostgres } from '../support/postgres.ts'

export const silentLog = createLogger({ level: 'error', format: 'json', write: () => undefined })

export const optionsFor = (databaseUrl: string | null, dataDir = ''): DatabaseOptions => ({
  databaseUrl,
  dataDir,
  log: silentLog,
  autoMigrate: true,
  poolSize: 4,
  waitSeconds: 0,
})

export interface OpenPostgres {
  readonly db: Database
  readonly url: string
  end(): Promise<void>
}

/** A migrated database of its own on the shared server. */
export async function openTestPostgres(options: Partial<DatabaseOptions> = {}): Promise<OpenPostgres> {
  const { url, drop } = await (await testPostgres()).createDatabase()
  const db = await openDatabase({ ...optionsFor(url), ...options })
  return { db, url, end: () => db.close().then(drop) }
}

export interface Tenant {
  readonly id: string
  readonly userId: string
  readonly scope: Scope
}

export async function createTenant(db: Database): Promise<Tenant> {
  const id = Bun.randomUUIDv7()
  const userId = Bun.randomUUIDv7()
  await db.write(
    'system',
    sql`insert into tenants (id, name, slug) values (${id}, 'Tenant', ${id})`,
    sql`insert into users (tenant_id, id, email, full_name, role, password_hash)
        values (${id}, ${userId}, ${`${userId}@example.com`}, 'User', 'member', 'none')`,
  )
  return { id, userId, scope: { tenantId: id } }
}

export async function createList(db: Database, tenant: Tenant, id = Bun.randomUUIDv7()): Promise<string> {
  await db.write(
    tenant.scope,
    sql`insert into shopping_lists (tenant_id, id, name, owner_id, created_by)
        values (${tenant.id}, ${id}, 'List', ${tenant.userId}, ${tenant.userId})`,
  )
  return id
}

/** The error that `work` must fail with. */
export async function failureOf(work: Promise<unknown>): Promise<unknown> {
  const outcome = await work.then(
    () => 'it succeeded',
    (error: unknown) => ({ error }),
  )
  if (typeof outcome === 'string') throw new Error(outcome)
  return outcome.error
}
