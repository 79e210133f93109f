/**
 * Brings the tenant of an archive in, in one transaction: all of it or nothing. It runs in the tenant's own scope, so
 * that row-level security keeps it to rows of that tenant, whatever the archive says. Lists come with their numbers
 * and their history as they were; nobody sees them before the commit, so nobody is told of changes.
 */

import { type SQL, sql } from 'drizzle-orm'
import { internalSource } from '../access/actor.ts'
import type { Database, Query } from '../db/database.ts'
import { ConstraintError, StatementError } from '../db/errors.ts'
import { platformTenantId } from '../db/schema.ts'
import { OperatorError } from '../errors.ts'
import { auditStatement } from '../features/audit/entry.ts'
import { ensureConsistent } from './consistency.ts'
import { type ArchivedTenant, allRows, columnsOf, type RowCounts, type TableName } from './format.ts'
import type { Archive, ArchiveRow } from './reader.ts'

export interface ImportOptions {
  /** In place of the archive's slug. */
  slug?: string | undefined
  /** To try everything and keep nothing. */
  dryRun: boolean
  /** What users of an archive without credentials get: the hash of a password that nobody knows. */
  unusableHash: string
  /** Called after each batch with how many rows it had. */
  onRows?(rows: number): void
}

export interface Imported {
  tenant: ArchivedTenant
  rows: RowCounts
}

/** @throws OperatorError, the database being as it was */
export async function importTenant(
  db: Database,
  archive: Archive,
  options: ImportOptions,
): Promise<Imported> {
  const { tenant: written, credentials } = archive.header
  const tenant = { ...written, slug: options.slug ?? written.slug }
  const done = { tenant, rows: archive.counts }
  const tried = new Error('Everything fits; nothing is kept of a dry run')
  try {
    await db.transaction({ tenantId: tenant.id }, async (query) => {
      await insertAll(query, archive, { tenant, credentials, ...options })
      await ensureConsistent(query, tenant.id)
      // Last, for running instances look only some seconds back for what is newly revoked.
      await query(sql`update revocations set at = clock_timestamp() where tenant_id = ${tenant.id}`)
      await record(query, tenant, { slug: tenant.slug, credentials, rows: allRows(archive.counts) })
      if (options.dryRun) throw tried
    })
  } catch (error) {
    if (error !== tried) throw error
  }
  return done
}

interface Target extends ImportOptions {
  tenant: ArchivedTenant
  credentials: boolean
}

async function insertAll(query: Query, archive: Archive, target: Target): Promise<void> {
  const taken: string[] = []
  const ensureFree = (): void => {
    if (taken.length > 0) throw addressesTaken(taken, archive.counts.users)
  }
  for await (const batch of batchesOf(archive.rows)) {
    if (batch.table !== 'users') ensureFree()
    try {
      if (batch.table === 'users') taken.push(...(await insertUsers(query, batch, target)))
      else await query(insertion(batch, target))
    } catch (error) {
      throw explain(error, batch, target.tenant)
    }
    target.onRows?.(batch.rows)
  }
  ensureFree()
  if (archive.counts.tenants !== 1) throw new OperatorError('The archive lacks its tenant.')
}

interface Batch {
  table: TableName
  /** Lines of the archive. */
  from: number
  to: number
  rows: number
  /** A JSON array. */
  json: string
}

const rowsPerBatch = 1000
/** In UTF-16 units. */
const batchLength = 1_000_000

async function* batchesOf(rows: AsyncIterable<ArchiveRow>): AsyncGenerator<Batch> {
  let waiting: ArchiveRow[] = []
  let length = 0
  const taken = (): Batch[] => {
    const [first, last] = [waiting[0], waiting.at(-1)]
    if (first === undefined || last === undefined) return []
    const json = `[${waiting.map(({ text }) => text).join(',')}]`
    const batch = { table: first.table, from: first.number, to: last.number, rows: waiting.length, json }
    waiting = []
    length = 0
    return [batch]
  }
  for await (const row of rows) {
    const isFull = waiting.length >= rowsPerBatch || length >= batchLength
    if (isFull || waiting[0]?.table !== row.table) yield* taken()
    waiting.push(row)
    length += row.text.length
  }
  yield* taken()
}

function insertion({ table, json }: Batch, { tenant, credentials, unusableHash }: Target): SQL {
  const names = columnsOf(table, credentials).map(([name]) => name)
  const columns = names.map((name) => sql.raw(`"${name}"`))
  const values = names.map((name) =>
    table === 'tenants' && name === 'slug' ? sql`${tenant.slug}::text` : sql.raw(`r."${name}"`),
  )
  if (table !== 'tenants') {
    columns.push(sql`tenant_id`)
    values.push(sql`${tenant.id}::uuid`)
  }
  if (table === 'users' && !credentials) {
    columns.push(sql`password_hash`)
    values.push(sql`${unusableHash}::text`)
  }
  return sql`insert into ${sql.raw(table)} (${sql.join(columns, sql`, `)})
    select ${sql.join(values, sql`, `)} from ${rowsOf(table, json)}`
}

/** Answers the addresses that are taken; whose they are, nobody sees in the tenant's scope. */
async function insertUsers(query: Query, batch: Batch, target: Target): Promise<string[]> {
  const rows = await query(
    sql<{ email: string }>`
      with made as (${insertion(batch, target)} on conflict (email) do nothing returning email)
      select r.email from ${rowsOf('users', batch.json)} where not exists (select from made m where m.email = r.email)`,
  )
  return rows.map(({ email }) => email)
}

/** The text of a row goes in as it came, so that no number in it is read and written anew on the way. */
const rowsOf = (table: TableName, json: string): SQL =>
  sql`json_populate_recordset(null::${sql.raw(table)}, ${json}::json) r`

/** The trail that came along stays as it was. The platform's is out of a tenant's reach, so the last step goes beyond. */
async function record(query: Query, tenant: ArchivedTenant, details: Record<string, unknown>): Promise<void> {
  await query(sql`select set_config('app.scope', 'system', true)`)
  await query(
    auditStatement({
      tenantId: platformTenantId,
      action: 'tenant.imported',
      actor: null,
      source: internalSource,
      target: { type: 'tenant', id: tenant.id },
      details,
    }),
  )
}

const addressesShown = 5

function addressesTaken(taken: string[], users: number): OperatorError {
  const shown = taken.slice(0, addressesShown).join(', ')
  const more = taken.length > addressesShown ? ', …' : ''
  return new OperatorError(
    `Of the ${users} users in the archive, ${taken.length} ${taken.length === 1 ? 'has an address' : 'have addresses'} ` +
      `that an account here has already: ${shown}${more}. An address belongs to one account of an installation: ` +
      'give those accounts another one, here or where the archive comes from, and try again. Nothing was imported.',
  )
}

function explain(error: unknown, { table, from, to }: Batch, { id, slug }: ArchivedTenant): unknown {
  const lines =
    from === to
      ? `Line ${from} of the archive holds`
      : `One of the lines ${from} to ${to} of the archive holds`
  const refused = (what: string) =>
    new OperatorError(`${lines} a row of ${table} ${what}. Nothing was imported.`)
  if (error instanceof StatementError && error.sqlState.startsWith('22'))
    return refused('with a value that the database does not take')
  if (!(error instanceof ConstraintError)) return error
  if (error.constraint === 'tenants_pkey')
    return new OperatorError(
      `The tenant ${id} is in this installation already. An import brings in what is not there and changes nothing that is.`,
    )
  if (error.constraint === 'tenants_slug_key')
    return new OperatorError(
      `Another tenant has the slug "${slug}" here already: choose one for this with --slug. Nothing was imported.`,
    )
  const foreignKey = '23503'
  return refused(
    error.sqlState === foreignKey
      ? 'that belongs to something which is not in the archive'
      : 'with a value that the table does not take',
  )
}
