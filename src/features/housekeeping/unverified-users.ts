/**
 * Removes users who have not verified their address for a week since their account was made or changed, but only a day
 * after a mail server accepted an announcement to an admin (removal-notices.ts). Where no admin can be notified nobody
 * is removed, so that a tenant keeps its admins. Those who were deactivated go after a day, unannounced: an admin knows
 * of them, and they are nobody's admin. Deactivated tenants are left alone.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Database, Query } from '../../db/database.ts'
import { isReferenced, type Person, removeUnverified } from '../auth/addresses.ts'
import { daysBefore } from './expired-rows.ts'
import type { UnderLock } from './lock.ts'

const removedAfterDays = 7
const deactivatedDays = 1
export const noticeDays = 1
/** Per round; the next one goes on from there. */
const maxRemovals = 1000

/** `u` is none of them: they have to be verified. */
export const notifiableAdmins: SQL = sql`
  select from users a where a.tenant_id = u.tenant_id and a.role = 'tenant_admin' and a.is_active and a.email_verified`

const isDue = (now: SQL): SQL => sql`
  not u.email_verified and u.role <> 'super_admin' and (
    (not u.is_active and u.updated_at <= ${daysBefore(now, deactivatedDays)})
    or (u.created_at <= ${daysBefore(now, removedAfterDays)} and u.updated_at <= ${daysBefore(now, removedAfterDays)}
      and u.removal_announced_at <= ${daysBefore(now, noticeDays)} and exists (${notifiableAdmins})))`

export interface RemovalDeps {
  db: Database
  underLock: UnderLock
  now: SQL
  isStopping: () => boolean
}

/** @param onRemoved called after each commit @throws LockedElsewhere, AppError database_unavailable */
export async function removeUnverifiedUsers(
  { db, underLock, now, isStopping }: RemovalDeps,
  onRemoved: () => void,
): Promise<void> {
  // In random order, so that those who stay, since rows refer to them, do not hold up the others.
  const due = await db.read(
    'housekeeping',
    sql<Person>`select u.tenant_id as "tenantId", u.id from users u join tenants t on t.id = u.tenant_id and t.is_active
      where ${isDue(now)} order by random() limit ${maxRemovals}::int`,
  )
  for (const person of due) {
    if (isStopping()) return
    if (await isReferenced(db, person)) continue
    if (await underLock((query) => removeIfStillDue(query, person, now))) onRemoved()
  }
}

async function removeIfStillDue(query: Query, person: Person, now: SQL): Promise<boolean> {
  // Locks out changes of admins (users/service.ts): the admin counted below stays one.
  const [tenant] = await query(
    sql<
      Pick<Person, 'id'>
    >`select id from tenants where id = ${person.tenantId} and is_active for no key update`,
  )
  return tenant !== undefined && (await query(removeUnverified(person, isDue(now)))).length > 0
}
