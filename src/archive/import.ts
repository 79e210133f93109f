/**
 * Imports the tenant of an archive in one transaction. It runs in that tenant's scope, so row-level security confines it
 * to the tenant's rows, whatever the archive says. Lists keep their sequence numbers and events; nobody can see them
 * before the commit, so there is nothing to broadcast.
 */

import { type SQL, sql } from 'drizzle-orm'
import { internalSource } from '../access/actor.ts'
import type { Database, Query } from '../db/database.ts'
import { ConstraintError, StatementError } from '../db/errors.ts'
import { platformTenantId } from '../db/schema.ts'
import { OperatorError } from '../errors.ts'
import { auditStatement } from '../features/audit/entry.ts'
import { textBytes } from '../features/list-changes/room.ts'
import { ensureConsistent } from './consistency.ts'
import { type ArchivedTenant, allRows, columnsOf, type RowCounts, type TableName } from './format.ts'
import type { Archive, ArchiveRow } from './reader.ts'
import { ensureOwnRevocations } from './revocations.ts'

export interface ImportOptions {
  /** Replaces the archive's slug. */
  slug?: string | undefined
  /** Brings every address in as not verified; housekeeping then gives people as long as new ones. */
  unverified: boolean
  /** Rolls back at the end. */
  dryRun: boolean
  /** For users of an archive without credentials: the hash of a password that nobody knows. */
  unusableHash: string
  /** Called after each batch, with its number of rows. */
  onRows?(rows: number): void
}

export interface Imported {
  tenant: ArchivedTenant
  rows: RowCounts
  verified: VerifiedAddresses
}

/** Addresses that count as verified here because the archive says so. */
export interface VerifiedAddresses {
  addresses: number
  /** The most frequent ones. */
  domains: { domain: string; addresses: number }[]
}

const domainsShown = 10

/** @throws OperatorError, having changed nothing */
export async function importTenant(
  db: Database,
  archive: Archive,
  options: ImportOptions,
): Promise<Imported> {
  const { tenant: archived, credentials } = archive.header
  const tenant = { ...archived, slug: options.slug ?? archived.slug }
  const rollback = new Error('rolled back: a dry run')
  let verified: VerifiedAddresses = { addresses: 0, domains: [] }
  try {
    await db.transaction({ tenantId: tenant.id }, async (query) => {
      const firstLines = await insertAll(query, archive, { tenant, credentials, ...options })
      await ensureConsistent(query, tenant.id)
      await countText(query, tenant.id)
      verified = await countVerified(query, tenant.id)
      await query(sql`select set_config('app.scope', 'system', true)`)
      await ensureOwnRevocations(query, tenant.id, firstLines.get('revocations') ?? 0)
      // Late, since running instances of the release before look only half a minute back for new revocations.
      await query(sql`update revocations set at = clock_timestamp() where tenant_id = ${tenant.id}`)
      await record(query, tenant, { slug: tenant.slug, credentials, rows: allRows(archive.counts) })
      if (options.dryRun) throw rollback
    })
  } catch (error) {
    if (error !== rollback) throw error
  }
  return { tenant, rows: archive.counts, verified }
}

/** A list may hold more text than one can be given here: it comes as it was. */
const countText = (query: Query, tenantId: string): Promise<unknown> =>
  query(sql`
    update shopping_lists l set text_seq = l.seq, text_bytes = c.bytes
    from (
      select s.id, coalesce(sum(${textBytes('i')}), 0) as bytes
      from shopping_lists s
      left join items i on i.tenant_id = s.tenant_id and i.list_id = s.id and i.deleted_at is null
      where s.tenant_id = ${tenantId} group by s.id
    ) c
    where l.tenant_id = ${tenantId} and l.id = c.id`)

async function countVerified(query: Query, tenantId: string): Promise<VerifiedAddresses> {
  const domains = await query(sql<VerifiedAddresses['domains'][number] & { total: number }>`
    select split_part(email, '@', 2) as domain, count(*)::int as addresses, (sum(count(*)) over ())::int as total
    from users where tenant_id = ${tenantId} and email_verified
    group by 1 order by 2 desc, 1 limit ${domainsShown}::int`)
  return {
    addresses: domains[0]?.total ?? 0,
    domains: domains.map(({ domain, addresses }) => ({ domain, addresses })),
  }
}

interface Target extends ImportOptions {
  tenant: ArchivedTenant
  credentials: boolean
}

/** @returns the line of each table's first row */
async function insertAll(query: Query, archive: Archive, target: Target): Promise<Map<TableName, number>> {
  const firstLines = new Map<TableName, number>()
  const taken: string[] = []
  const ensureFree = (): void => {
    if (taken.length > 0) throw addressesTaken(taken, archive.counts.users)
  }
  for await (const batch of batchesOf(archive.rows)) {
    if (batch.table !== 'users') ensureFree()
    if (!firstLines.has(batch.table)) firstLines.set(batch.table, batch.from)
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
  return firstLines
}

interface Batch {
  table: TableName
  /** Line numbers in the archive. */
  from: number
  to: number
  rows: number
  /** A JSON array. */
  json: string
}

const rowsPerBatch = 1000
/** In UTF-16 code units. */
const maxBatchLength = 1_000_000

async function* batchesOf(rows: AsyncIterable<ArchiveRow>): AsyncGenerator<Batch> {
  let pending: ArchiveRow[] = []
  let length = 0
  const flush = (): Batch[] => {
    const [first, last] = [pending[0], pending.at(-1)]
    if (first === undefined || last === undefined) return []
    const json = `[${pending.map(({ text }) => text).join(',')}]`
    const batch = { table: first.table, from: first.number, to: last.number, rows: pending.length, json }
    pending = []
    length = 0
    return [batch]
  }
  for await (const row of rows) {
    const isFull = pending.length >= rowsPerBatch || length >= maxBatchLength
    if (isFull || pending[0]?.table !== row.table) yield* flush()
    pending.push(row)
    length += row.text.length
  }
  yield* flush()
}

function insertion({ table, json }: Batch, { tenant, credentials, unusableHash, unverified }: Target): SQL {
  const names = columnsOf(table, credentials).map(([name]) => name)
  const columns = names.map((name) => sql.raw(`"${name}"`))
  const replaced: Record<string, SQL> = {
    ...(table === 'tenants' ? { slug: sql`${tenant.slug}::text` } : {}),
    ...(table === 'users' && unverified ? asUnverified : {}),
  }
  const values = names.map((name) => replaced[name] ?? sql.raw(`r."${name}"`))
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

const asUnverified = {
  email_verified: sql`false`,
  removal_announced_at: sql`null`,
  updated_at: sql`clock_timestamp()`,
}

/** @returns the addresses that are taken, of which nothing is inserted; the tenant's scope cannot see by whom */
async function insertUsers(query: Query, batch: Batch, target: Target): Promise<string[]> {
  const isVerified = target.unverified ? asUnverified.email_verified : sql`r.email_verified`
  const taken = await query(
    sql<{ email: string }>`select r.email from ${rowsOf('users', batch.json)}
      where email_is_taken(r.email, ${target.tenant.id}::uuid, ${isVerified})`,
  )
  if (taken.length === 0) await query(insertion(batch, target))
  return taken.map(({ email }) => email)
}

/** Passes the rows' text on as it came, so that no number in it is parsed and formatted again. */
const rowsOf = (table: TableName, json: string): SQL =>
  sql`json_populate_recordset(null::${sql.raw(table)}, ${json}::json) r`

/** In the platform's trail, in the system's scope; the imported trail stays as it was. */
async function record(query: Query, tenant: ArchivedTenant, details: Record<string, unknown>): Promise<void> {
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
      `that an account here already has: ${shown}${more}. An installation has one account per verified address: change those ` +
      'addresses, here or where the archive comes from, and try again. Nothing was imported.',
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
    return refused('with a value that the database does not accept')
  if (!(error instanceof ConstraintError)) return error
  if (error.constraint === 'tenants_pkey')
    return new OperatorError(
      `The tenant ${id} is in this installation already. An import only adds tenants and changes none.`,
    )
  if (error.constraint === 'tenants_slug_key')
    return new OperatorError(
      `Another tenant here already has the slug "${slug}": choose another one with --slug. Nothing was imported.`,
    )
  const foreignKey = '23503'
  return refused(
    error.sqlState === foreignKey
      ? 'that refers to something which is not in the archive'
      : 'with a value that the table does not accept',
  )
}
