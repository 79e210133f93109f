/** Users as signing in needs them, in any tenant: each statement names its scope. */
import { type SQL, sql } from 'drizzle-orm'
import type { TokenSubject } from '../../access/access-tokens.ts'
import type { Source } from '../../access/actor.ts'
import type { Database, Scope } from '../../db/database.ts'
import { platformTenantId, users } from '../../db/schema.ts'
import { rowJson, wireColumns } from '../../db/wire-json.ts'
import { auditStatement } from '../audit/entry.ts'

export interface Account extends TokenSubject {
  email: string
  fullName: string
  passwordHash: string
  isActive: boolean
  emailVerified: boolean
  sessionEpoch: number
  tenantIsActive: boolean
  tenantName: string
  /** The user on the wire, as JSON text. */
  userJson: string
}

/** A user on the wire, from the row `u`, without hash and epochs. A super admin has no tenant there. */
export const userJson = (u: string): SQL =>
  rowJson(sql`${wireColumns(users, u, 'id')}, nullif(${sql.raw(u)}.tenant_id, '${sql.raw(platformTenantId)}') as tenant_id,
    ${wireColumns(users, u, 'email', 'fullName', 'role', 'isActive', 'emailVerified', 'createdAt', 'updatedAt')}`)

const accountColumns: SQL = sql`
  u.id as "userId", u.tenant_id as "tenantId", u.role, u.email, u.full_name as "fullName",
  u.password_hash as "passwordHash", u.is_active as "isActive", u.email_verified as "emailVerified",
  u.token_epoch as "tokenEpoch", u.session_epoch as "sessionEpoch", t.epoch as "tenantEpoch",
  t.is_active as "tenantIsActive", t.name as "tenantName", ${userJson('u')}::text as "userJson"`

export async function findAccountByEmail(db: Database, email: string): Promise<Account | null> {
  const rows = await db.read(
    'system',
    sql<Account>`select ${accountColumns} from users u join tenants t on t.id = u.tenant_id where u.email = ${email}`,
  )
  return rows[0] ?? null
}

export async function findAccount(db: Database, tenantId: string, userId: string): Promise<Account | null> {
  const rows = await db.read(
    { tenantId },
    sql<Account>`select ${accountColumns} from users u join tenants t on t.id = u.tenant_id
      where u.tenant_id = ${tenantId} and u.id = ${userId}`,
  )
  return rows[0] ?? null
}

/** An account, and whether this session of it was revoked: what a refresh needs to know. */
export async function findAccountOfSession(
  db: Database,
  tenantId: string,
  userId: string,
  sessionId: string,
): Promise<(Account & { sessionIsRevoked: boolean }) | null> {
  const rows = await db.read(
    { tenantId },
    sql<Account & { sessionIsRevoked: boolean }>`
      select ${accountColumns}, exists (
        select from revocations r where r.tenant_id = u.tenant_id and r.subject = ${sessionId}::uuid
      ) as "sessionIsRevoked"
      from users u join tenants t on t.id = u.tenant_id where u.tenant_id = ${tenantId} and u.id = ${userId}`,
  )
  return rows[0] ?? null
}

/** @returns whether the account was active and not verified yet */
export async function markEmailVerified(db: Database, account: Account, source: Source): Promise<boolean> {
  const { tenantId, userId, email } = account
  const rows = await db.write(
    { tenantId },
    sql<{ id: string }>`with verified as (
        update users set email_verified = true, updated_at = clock_timestamp()
        where tenant_id = ${tenantId} and id = ${userId} and email = ${email} and is_active and not email_verified
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
      )})
      select id from verified`,
  )
  return rows.length > 0
}

/** Stores a hash of the same password under newer parameters, unless the password has changed meanwhile. */
export async function replaceHash(db: Database, account: Account, newHash: string): Promise<void> {
  const scope: Scope = { tenantId: account.tenantId }
  await db.write(
    scope,
    sql`update users set password_hash = ${newHash} where tenant_id = ${account.tenantId} and id = ${account.userId}
      and password_hash = ${account.passwordHash}`,
  )
}
