/** The table of mails that wait, and its statements. All times are the database's, so instances need not agree on one. */
import { type SQL, sql } from 'drizzle-orm'

export interface ClaimedRow {
  id: string
  tenantId: string
  /** Base64. */
  sealed: string
  /** Counts from 1, attempts that ended with their process included. */
  attempt: number
  createdAt: string
  ageMs: number
}

export interface Depth {
  queued: number
  /** 0 for none. */
  oldestSeconds: number
}

/** @param from one row is inserted for each of its rows, which must be one at most */
export const insertRow = (tenantId: string, id: string, sealed: string, from: SQL): SQL => sql`
  insert into mail_outbox (tenant_id, id, sealed)
  select ${tenantId}::uuid, ${id}::uuid, decode(${sealed}::text, 'base64') from ${from}`

/** Takes rows that are due, oldest first, that no other instance takes: they are due again when the lease ends. */
export const claimRows = (limit: number, leaseMs: number): SQL<ClaimedRow> => sql<ClaimedRow>`
  with due as materialized (
    select tenant_id, id from mail_outbox where due_at <= clock_timestamp()
    order by due_at limit ${limit}::int for update skip locked
  )
  update mail_outbox m set attempts = m.attempts + 1, due_at = ${inMs(leaseMs)} from due
  where m.tenant_id = due.tenant_id and m.id = due.id
  returning m.id, m.tenant_id as "tenantId", encode(m.sealed, 'base64') as sealed, m.attempts as attempt,
    wire_time(m.created_at) as "createdAt",
    extract(epoch from clock_timestamp() - m.created_at)::double precision * 1000 as "ageMs"`

export const makeAllDue: SQL = sql`update mail_outbox set due_at = clock_timestamp() where due_at > clock_timestamp()`

export const renewRow = ({ tenantId, id }: ClaimedRow, leaseMs: number): SQL =>
  sql`update mail_outbox set due_at = ${inMs(leaseMs)} where tenant_id = ${tenantId} and id = ${id}`

/** Does nothing where another instance has taken the row meanwhile. */
export const rescheduleRow = ({ tenantId, id, attempt }: ClaimedRow, pauseMs: number): SQL => sql`
  update mail_outbox set due_at = ${inMs(pauseMs)}
  where tenant_id = ${tenantId} and id = ${id} and attempts = ${attempt}::int`

export const deleteRow = ({ tenantId, id }: ClaimedRow): SQL =>
  sql`delete from mail_outbox where tenant_id = ${tenantId} and id = ${id}`

export const depth: SQL<Depth> = sql<Depth>`
  select count(*)::int as queued,
    coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::double precision as "oldestSeconds"
  from mail_outbox`

const inMs = (ms: number): SQL => sql`clock_timestamp() + ${ms}::double precision * interval '1 millisecond'`
