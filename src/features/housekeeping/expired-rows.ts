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

/** A repeat is recognised for as long as events are kept. */
export const oldKeyedCalls = ({ now, batchSize }: Bounds, retentionDays: number): CleanupTask => ({
  what: 'keyed_calls',
  next: (query) =>
    counted(
      query,
      sql<Removed>`with gone as (
        delete from keyed_calls k using (
          select tenant_id, key, user_id from keyed_calls where at < ${daysBefore(now, retentionDays)}
          order by at limit ${batchSize}::int
        ) o where k.tenant_id = o.tenant_id and k.key = o.key and k.user_id = o.user_id returning 1
      ) select count(*)::int as removed from gone`,
      batchSize,
    ),
})

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

export const oldRevocations = ({ now, batchSize }: Bounds): CleanupTask => ({
  what: 'revocations',
  next: (query) =>
    counted(
      query,
      sql<Removed>`with gone as (
        delete from revocations r using (
          select tenant_id, subject from revocations where at < ${daysBefore(now, revocationLifeDays)}
          order by at limit ${batchSize}::int for update skip locked
        ) o where r.tenant_id = o.tenant_id and r.subject = o.subject returning 1
      ) select count(*)::int as removed from gone`,
      batchSize,
    ),
})

export const oldSpentInvitations = ({ now, batchSize }: Bounds): CleanupTask => ({
  what: 'spent_invitations',
  next: (query) =>
    counted(
      query,
      sql<Removed>`with gone as (
        delete from spent_invitations s using (
          select tenant_id, invitation_id from spent_invitations where at < ${daysBefore(now, revocationLifeDays)}
          order by at limit ${batchSize}::int
        ) o where s.tenant_id = o.tenant_id and s.invitation_id = o.invitation_id returning 1
      ) select count(*)::int as removed from gone`,
      batchSize,
    ),
})

interface Removed {
  removed: number
}

async function counted(query: Query, statement: SQL<Removed>, batchSize: number): Promise<Batch> {
  const [row] = await query(statement)
  const removed = Number(row?.removed)
  return { removed, isLast: removed < batchSize }
}
