/**
 * Removes users who have not verified their address for a week since their account was made or changed, but only a day after a mail server accepted an
 * announcement to an admin (removal-notices.ts). Where no admin can be notified nobody is removed, so that a tenant
 * keeps its admins. Deactivated tenants are left alone.
 */
import { type SQL, sql } from 'drizzle-orm'
import { internalSource } from '../../access/actor.ts'
import type { Database, Query } from '../../db/database.ts'
import { auditStatement } from '../audit/entry.ts'
import { daysBefore } from './expired-rows.ts'
import type { UnderLock } from './lock.ts'

const removedAfterDays = 7
export const noticeDays = 1
/** Per round; the next one goes on from there. */
const maxRemovals = 1000

/** `u` is none of them: they have to be verified. */
export const notifiableAdmins: SQL = sql`
  select from users a where a.tenant_id = u.tenant_id and a.role = 'tenant_admin' and a.is_active and a.email_verified`

const isDue = (now: SQL): SQL => sql`
  not u.email_verified and u.role <> 'super_admin' and u.created_at <= ${daysBefore(now, removedAfterDays)}
  and u.updated_at <= ${daysBefore(now, removedAfterDays)}
  and u.removal_announced_at <= ${daysBefore(now, noticeDays)} and exists (${notifiableAdmins})`

export interface Person {
  tenantId: string
  id: string
}

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
  const due = await db.read(
    'housekeeping',
    sql<Person>`select u.tenant_id as "tenantId", u.id from users u join tenants t on t.id = u.tenant_id and t.is_active
      where ${isDue(now)} order by u.created_at, u.id limit ${maxRemovals}::int`,
  )
  for (const person of due) {
    if (isStopping()) return
    if (await isReferenced(db, person)) continue
    if (await underLock((query) => removeIfStillDue(query, person, now))) onRemoved()
  }
}

/**
 * An unverified user cannot have done anything that refers to them; should there be such a row, they stay. Read in the
 * tenant's own scope: housekeeping cannot see lists.
 */
async function isReferenced(db: Database, { tenantId, id }: Person): Promise<boolean> {
  const [row] = await db.read(
    { tenantId },
    sql<{ referenced: boolean }>`select
      exists (select from list_members where tenant_id = ${tenantId} and user_id = ${id})
      or exists (select from shopping_lists where tenant_id = ${tenantId} and ${id}::uuid in (owner_id, created_by))
      or exists (select from items where tenant_id = ${tenantId} and added_by = ${id}) as referenced`,
  )
  return row?.referenced !== false
}

async function removeIfStillDue(query: Query, { tenantId, id }: Person, now: SQL): Promise<boolean> {
  // Locks out changes of admins (users/service.ts): the admin counted below stays one.
  const [tenant] = await query(
    sql<Person>`select id from tenants where id = ${tenantId} and is_active for no key update`,
  )
  if (!tenant) return false
  const [removed] = await query(
    sql<{
      email: string
    }>`delete from users u where u.tenant_id = ${tenantId} and u.id = ${id} and ${isDue(now)}
      returning u.email`,
  )
  if (!removed) return false
  await query(
    auditStatement({
      tenantId,
      action: 'user.removed',
      actor: null,
      source: internalSource,
      target: { type: 'user', id },
      details: { email: removed.email, reason: 'unverified' },
    }),
  )
  return true
}
