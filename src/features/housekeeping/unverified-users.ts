/**
 * People who never proved their address go after a week, but never unannounced: only when a mail to an admin of theirs
 * was handed over a day before (removal-notices.ts). Where there is no admin to be told, nobody goes, so that a tenant
 * keeps its admins. A deactivated tenant is left as it is.
 */
import { type SQL, sql } from 'drizzle-orm'
import { internalSource } from '../../access/actor.ts'
import type { Database, Query } from '../../db/database.ts'
import { auditStatement } from '../audit/entry.ts'
import { daysBefore } from './expired-rows.ts'
import type { InTurn } from './lock.ts'

const removedAfterDays = 7
export const noticeDays = 1
/** In one round; the rest's turn comes with the next. */
const maxRemovals = 1000

/** Of whom `u` is not one: only someone verified can be told. */
export const toldAdmins: SQL = sql`
  select from users a where a.tenant_id = u.tenant_id and a.role = 'tenant_admin' and a.is_active and a.email_verified`

const isDue = (now: SQL): SQL => sql`
  not u.email_verified and u.role <> 'super_admin' and u.created_at <= ${daysBefore(now, removedAfterDays)}
  and u.removal_announced_at <= ${daysBefore(now, noticeDays)} and exists (${toldAdmins})`

export interface Person {
  tenantId: string
  id: string
}

export interface RemovalDeps {
  db: Database
  inTurn: InTurn
  now: SQL
  isStopping: () => boolean
}

/** @param onRemoved is called after each one's commit @throws TakenElsewhere, AppError database_unavailable */
export async function removeUnverifiedUsers(
  { db, inTurn, now, isStopping }: RemovalDeps,
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
    if (await inTurn((query) => removeIfStillDue(query, person, now))) onRemoved()
  }
}

/**
 * Who never verified can have done nothing that points to them; should there be such a row all the same, they stay.
 * Asked in the tenant's own scope, for housekeeping sees no lists.
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
  // Whoever takes an admin away stands in line here (users/service.ts): the admin counted below stays one.
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
