/** Writes the archive of one tenant (format.ts) from one snapshot of the database, page by page. */
import { createHash } from 'node:crypto'
import { type SQL, sql } from 'drizzle-orm'
import { internalSource } from '../access/actor.ts'
import type { ExportRecord } from '../backup/control-protocol.ts'
import type { Database, Query } from '../db/database.ts'
import { platformTenantId } from '../db/schema.ts'
import { notFound } from '../errors.ts'
import { auditStatement } from '../features/audit/entry.ts'
import { version as program } from '../version.ts'
import {
  type ArchivedTenant,
  allRows,
  archiveTables,
  archiveVersion,
  columnsOf,
  type Header,
  noRows,
  type RowCounts,
  type TableName,
  type Trailer,
  tableNames,
} from './format.ts'

export interface ExportOptions {
  tenantId: string
  /** Whether to include password hashes. */
  credentials: boolean
  /** Receives the next part of the archive; resolves when there is room for more. */
  write(text: string): Promise<void>
  /** Records the export in the audit trail: `recordExport`, on the served database if this one is a copy. */
  record(entry: ExportRecord): Promise<void>
  /** Called once, before the first row. */
  onTotal?(rows: number): void
  /** Called after each page, with its number of rows. */
  onRows?(rows: number): void
}

export interface Exported {
  tenant: ArchivedTenant
  rows: RowCounts
  sha256: string
}

const rowsPerPage = 1000

/** The id of the tenant with that id or slug; null for none, and for the platform's own. */
export async function findTenant(db: Database, idOrSlug: string): Promise<string | null> {
  const [tenant] = await db.read(
    'system',
    sql<{ id: string }>`select id from tenants
      where (id::text = lower(${idOrSlug}::text) or slug = ${idOrSlug}::text) and id <> ${platformTenantId}
      order by id::text = lower(${idOrSlug}::text) desc limit 1`,
  )
  return tenant?.id ?? null
}

/**
 * Writes the trailer, without which an archive is useless, only once the export is recorded.
 * @throws AppError not_found
 */
export async function exportTenant(db: Database, options: ExportOptions): Promise<Exported> {
  const { tenantId, credentials } = options
  const hash = createHash('sha256')
  const write = async (text: string): Promise<void> => {
    hash.update(text)
    await options.write(text)
  }
  const work = async (query: Query): Promise<Omit<Exported, 'sha256'>> => {
    const [tenant] = await query(
      sql<ArchivedTenant>`select id, slug, name from tenants where id = ${tenantId}`,
    )
    if (!tenant) throw notFound('tenant')
    const header: Header = { minimart: 'archive', version: archiveVersion, program, tenant, credentials }
    await write(`${JSON.stringify(header)}\n`)
    return { tenant, rows: await writeTables(query, options, write) }
  }
  const { tenant, rows } = await db.transaction({ tenantId }, work, 'snapshot')
  await options.record({ tenantId, credentials, rows: allRows(rows) })
  const sha256 = hash.digest('hex')
  const trailer: Trailer = { minimart: 'end', rows, sha256, exported_at: new Date().toISOString() }
  await options.write(`${JSON.stringify(trailer)}\n`)
  return { tenant, rows, sha256 }
}

async function writeTables(
  query: Query,
  { credentials, onTotal, onRows }: ExportOptions,
  write: (text: string) => Promise<void>,
): Promise<RowCounts> {
  const rows = noRows()
  if (onTotal) onTotal(await countRows(query))
  for (const table of tableNames)
    for await (const lines of pagesOf(query, table, credentials)) {
      await write(`${lines.join('\n')}\n`)
      rows[table] += lines.length
      onRows?.(lines.length)
    }
  return rows
}

interface Line {
  line: string
}

/** With a cursor: keyset pages would sort a table without statistics again for each page, and PGlite has none. */
async function* pagesOf(query: Query, table: TableName, credentials: boolean): AsyncGenerator<string[]> {
  await query(sql`declare archive_rows no scroll cursor for ${linesOf(table, credentials)}`)
  for (;;) {
    const page = await query(fetchPage)
    if (page.length > 0) yield page.map(({ line }) => line)
    if (page.length < rowsPerPage) break
  }
  await query(sql`close archive_rows`)
}

const fetchPage = sql<Line>`fetch ${sql.raw(String(rowsPerPage))} from archive_rows`

/** Without parameters, which DECLARE CURSOR does not take: the tenant is that of the transaction's scope. */
function linesOf(table: TableName, credentials: boolean): SQL<Line> {
  const columns = columnsOf(table, credentials).map(
    ([name, { written }]) => `${written(`t.${name}`)} as ${name}`,
  )
  const key = archiveTables[table].key.map((name) => `t.${name}`)
  return sql<Line>`select row_to_json(r)::text as line from (
    select '${sql.raw(table)}' as "table", ${sql.raw(columns.join(', '))} from ${sql.raw(table)} t
    where ${ownRows(table)} order by ${sql.raw(key.join(', '))}
  ) r`
}

async function countRows(query: Query): Promise<number> {
  const counts = tableNames.map(
    (table) => sql`(select count(*) from ${sql.raw(table)} t where ${ownRows(table)})`,
  )
  const [row] = await query(sql<{ total: number }>`select (${sql.join(counts, sql` + `)})::bigint as total`)
  return row?.total ?? 0
}

/** In the trails of the platform and of the tenant. The actor is unknown: anyone who can run the program. */
export async function recordExport(
  db: Database,
  { tenantId: id, credentials, rows }: ExportRecord,
): Promise<void> {
  const entry = (tenantId: string): SQL =>
    auditStatement({
      tenantId,
      action: 'tenant.exported',
      actor: null,
      source: internalSource,
      target: { type: 'tenant', id },
      details: { credentials, rows },
    })
  await db.write('system', entry(platformTenantId), entry(id))
}

/** Redundant with row-level security, but it lets the planner use an index. */
const ownRows = (table: TableName): SQL =>
  sql`t.${sql.raw(table === 'tenants' ? 'id' : 'tenant_id')} = current_tenant()`
