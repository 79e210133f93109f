/** Deletes expired rows, oldest first, a batch at a time. */
import { type SQL, sql } from 'drizzle-orm'
import type { Query } from '../../db/database.ts'
import { deleteExpiredEntries } from '../../store/database.ts'
import type { CleanedKind } from './round.ts'

export interface Batch {
  removed: number
  isLast: boolean
}

/** Created for each round. */
export interface CleanupTask {
  what: CleanedKind
  /** Removes up to a batch of rows. */
  next(query: Query): Promise<Batch>
}

export interface Bounds {
  /** The database's clock, like the rows' times: an instance with a wrong clock must delete nothing early. */
  now: SQL
  batchSize: number
}

/** No setting gives a refresh token or an invitation more than 365 days. */
const revocationLifeDays = 366

export const daysBefore = (now: SQL, days: number): SQL => sql`${now} - make_interval(days => ${days}::int)`

export const expiredStoreEntries = ({ batchSize }: Bounds): CleanupTask => ({
  what: 'store_entries',
  next: async (query) => {
    const { length } = await query(deleteExpiredEntries(batchSize))
    return { removed: length, isLast: length < batchSize }
  },
})

export const expiredAuditEntries = ({ now, batchSize }: Bounds, retentionDays: number): CleanupTask => ({
  what: 'audit_entries',
  next: (query) =>
    counted(
      query,
      sql<Removed>`select delete_audit_entries(${daysBefore(now, retentionDays)}, ${batchSize}::int) as removed`,
      batchSize,
    ),
})

/** An item's id is known as deleted for as long as the event that deleted it is kept, and a day more. */
export const oldDeletedItems = ({ now, batchSize }: Bounds, retentionDays: number): CleanupTask => {
  // By their place: nothing changes a deleted item, and PostgreSQL has one plan to choose.
  const statement = sql<Removed>`with gone as (
      delete from items where ctid = any (array(
        select ctid from items where deleted_at < ${daysBefore(now, retentionDays + 1)}
        order by deleted_at limit ${batchSize}::int
      )) returning 1
    ) select count(*)::int as removed from gone`
  return { what: 'deleted_items', next: (query) => counted(query, statement, batchSize) }
}

/** A repeat is recognised for as long as events are kept. */
export const oldKeyedCalls = (bounds: Bounds, retentionDays: number): CleanupTask =>
  oldRows('keyed_calls', ['key', 'user_id'], bounds, retentionDays)

/** Those that are counted too. */
export const expiredAuditRefusals = ({ now, batchSize }: Bounds, retentionDays: number): CleanupTask => ({
  what: 'audit_refusals',
  next: (query) =>
    counted(
      query,
      sql<Removed>`select delete_audit_refusals(${daysBefore(now, retentionDays)}, ${batchSize}::int) as removed`,
      batchSize,
    ),
})

export const oldRevocations = (bounds: Bounds): CleanupTask =>
  // One that is revoked anew at this moment is no longer old.
  oldRows('revocations', ['subject'], bounds, revocationLifeDays, sql`for update skip locked`)

export const oldSpentInvitations = (bounds: Bounds): CleanupTask =>
  oldRows('spent_invitations', ['invitation_id'], bounds, revocationLifeDays)

/** @param key the columns of the primary key besides `tenant_id` */
function oldRows(
  table: Extract<CleanedKind, 'keyed_calls' | 'revocations' | 'spent_invitations'>,
  key: readonly string[],
  { now, batchSize }: Bounds,
  days: number,
  locking = sql``,
): CleanupTask {
  const columns = sql.raw(['tenant_id', ...key].join(', '))
  const statement = sql<Removed>`with gone as (
      delete from ${sql.raw(table)} where (${columns}) in (
        select ${columns} from ${sql.raw(table)} where at < ${daysBefore(now, days)}
        order by at limit ${batchSize}::int ${locking}
      ) returning 1
    ) select count(*)::int as removed from gone`
  return { what: table, next: (query) => counted(query, statement, batchSize) }
}

interface Removed {
  removed: number
}

async function counted(query: Query, statement: SQL<Removed>, batchSize: number): Promise<Batch> {
  const [row] = await query(statement)
  const removed = Number(row?.removed)
  return { removed, isLast: removed < batchSize }
}
