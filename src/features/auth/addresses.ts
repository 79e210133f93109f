/**
 * Who has an e-mail address. Until it is verified any number of tenants may have made an account with it, a few in all
 * (migration 0010); the first that its owner verifies has it, and is the only one from then on.
 *
 * An account that loses its address is kept, deactivated, under one that nobody can have, so that what refers to it
 * stays readable. It is deleted where it was never verified and nothing refers to it.
 */
import { type SQL, sql } from 'drizzle-orm'
import { internalSource, type Source } from '../../access/actor.ts'
import { onRepeatedRevocation } from '../../access/revocations.ts'
import type { Database } from '../../db/database.ts'
import { ConstraintError } from '../../db/errors.ts'
import { logFailure } from '../../lib/background.ts'
import type { Logger } from '../../log.ts'
import { auditStatement } from '../audit/entry.ts'
import type { Account } from './accounts.ts'

export interface Person {
  tenantId: string
  id: string
}

/** Names of what refuses a second account with an address. */
const addressConstraints: ReadonlySet<string> = new Set([
  'users_email_key',
  'users_verified_email_key',
  'users_tenant_email_key',
])

export const isAddressTaken = (error: unknown): boolean =>
  error instanceof ConstraintError && addressConstraints.has(error.constraint)

interface Verified {
  /** The accounts that lost the address. */
  others: Person[]
}

/** The other accounts with the address are removed. @returns whether the account was active and not verified yet */
export async function markEmailVerified(
  { db, log }: { db: Database; log: Logger },
  account: Account,
  source: Source,
): Promise<boolean> {
  const [verified] = await db
    .write('system', lockAddress(account.email), verifyStatement(account, source))
    .catch(
      // A super admin was created with the address at this moment.
      (error: unknown) => {
        if (isAddressTaken(error)) return []
        throw error
      },
    )
  for (const other of verified?.others ?? [])
    await logFailure(log, 'removing an account without an address', removeReleased(db, other))
  return verified !== undefined
}

/** Of two who verify the same address, or take it away, the second sees what the first did. */
const lockAddress = (email: string): SQL =>
  sql`select from users where email = ${email} order by tenant_id, id for update`

const verifyStatement = (
  { tenantId, userId, email }: Account,
  source: Source,
): SQL<Verified> => sql<Verified>`
  with verified as (
    update users u set email_verified = true, updated_at = clock_timestamp()
    where tenant_id = ${tenantId} and id = ${userId} and email = ${email} and is_active and not email_verified
      and not exists (select from users o where o.email = u.email and o.email_verified)
    returning id
  ), audited as (${auditStatement(
    {
      tenantId,
      action: 'auth.email_verified',
      actor: null,
      source,
      target: { type: 'user', id: userId },
      details: { email },
    },
    sql`verified`,
  )}), ${releaseSteps(email, 'verified_elsewhere', sql`u.id <> ${userId} and exists (select from verified)`)}
  select coalesce((select json_agg(json_build_object('tenantId', tenant_id, 'id', id)) from released), '[]') as others
  from verified`

/** Steps that take the address from the accounts `u` which meet a condition: `released` has them. */
const releaseSteps = (email: string, reason: string, which: SQL): SQL => sql`
  released as (
    update users u set email = 'released-' || u.id || '@address.invalid', is_active = false,
      token_epoch = token_epoch + 1, session_epoch = session_epoch + 1, updated_at = clock_timestamp()
    where email = ${email} and ${which}
    returning tenant_id, id, token_epoch
  ), revoked as (
    insert into revocations (tenant_id, subject, minimum_epoch)
    select tenant_id, id, token_epoch from released ${onRepeatedRevocation}
  ), recorded as (${auditStatement(
    {
      tenantId: sql`tenant_id`,
      action: 'user.address_released',
      actor: null,
      source: internalSource,
      target: { type: 'user', id: sql`id` },
      details: { email, reason },
    },
    sql`released`,
  )})`

/** Deletes an account that lost its address before it was verified, unless something refers to it. */
async function removeReleased(db: Database, person: Person): Promise<void> {
  if (!(await isReferenced(db, person)))
    await db.write('housekeeping', removeUnverified(person, sql`not is_active`))
}

/**
 * Whether rows of the tenant refer to a user: not to one who never verified their address, unless they were imported.
 * Read in the tenant's own scope: no other sees lists.
 */
export async function isReferenced(db: Database, { tenantId, id }: Person): Promise<boolean> {
  const [row] = await db.read(
    { tenantId },
    sql<{ referenced: boolean }>`select
      exists (select from list_members where tenant_id = ${tenantId} and user_id = ${id})
      or exists (select from shopping_lists where tenant_id = ${tenantId} and ${id}::uuid in (owner_id, created_by))
      or exists (select from items where tenant_id = ${tenantId} and added_by = ${id}) as referenced`,
  )
  return row?.referenced !== false
}

/** In the scope of housekeeping, the only one that may delete users. @param which a condition on the user `u` */
export const removeUnverified = ({ tenantId, id }: Person, which: SQL): SQL<Pick<Person, 'id'>> => sql`
  with removed as (
    delete from users u where tenant_id = ${tenantId} and id = ${id} and not email_verified and ${which}
    returning id, email
  ), audited as (${auditStatement(
    {
      tenantId,
      action: 'user.removed',
      actor: null,
      source: internalSource,
      target: { type: 'user', id },
      details: sql`jsonb_build_object('email', email, 'reason', 'unverified')`,
    },
    sql`removed`,
  )})
  select id from removed`

export interface Holder extends Person {
  tenantName: string
  tenantSlug: string
  role: string
  isActive: boolean
  isVerified: boolean
}

/** Every account with the address, the one that has it first. */
export const findHolders = (db: Database, email: string): Promise<Holder[]> =>
  db.read(
    'system',
    sql<Holder>`select u.tenant_id as "tenantId", u.id, t.name as "tenantName", t.slug as "tenantSlug", u.role,
        u.is_active and t.is_active as "isActive", u.email_verified as "isVerified"
      from users u join tenants t on t.id = u.tenant_id where u.email = ${email}
      order by u.email_verified desc, u.created_at desc, u.id desc`,
  )

/** Whether one of them is the last super admin who can sign in. */
export async function isLastSuperAdmin(db: Database, holders: readonly Holder[]): Promise<boolean> {
  const admin = holders.find(({ role, isActive }) => role === 'super_admin' && isActive)
  if (!admin) return false
  const others = await db.read(
    'system',
    sql<Pick<Person, 'id'>>`select id from users
      where role = 'super_admin' and is_active and id <> ${admin.id} limit 1`,
  )
  return others.length === 0
}

/** Takes the address from these accounts. Their sessions end within a second. @returns those that still had it */
export async function releaseAddress(
  db: Database,
  email: string,
  holders: readonly Holder[],
): Promise<Holder[]> {
  const ids = JSON.stringify(holders.map(({ id }) => id))
  const rows = await db.write(
    'system',
    lockAddress(email),
    sql<Pick<Person, 'id'>>`with ${releaseSteps(
      email,
      'operator',
      sql`u.id in (select held::uuid from jsonb_array_elements_text(${ids}::jsonb) held)`,
    )} select id from released`,
  )
  const released = new Set(rows.map(({ id }) => id))
  return holders.filter(({ id }) => released.has(id))
}
