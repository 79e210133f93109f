/** Users as signing in needs them, in any tenant: each statement names its scope. */
import { type SQL, sql } from 'drizzle-orm'
import type { TokenSubject } from '../../access/access-tokens.ts'
import type { Database, Scope } from '../../db/database.ts'
import { platformTenantId, users } from '../../db/schema.ts'
import { rowJson, wireColumns } from '../../db/wire-json.ts'

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

/** As many of one address may wait to be verified (migration 0010). */
const maxPerAddress = 5

/**
 * The account that has the address; where none is verified, those that wait for it, beginning with the one made last.
 * Those that cannot sign in come after all others.
 */
export async function findAccountsByEmail(db: Database, email: string): Promise<Account[]> {
  const rows = await db.read(
    'system',
    sql<Account>`select ${accountColumns} from users u join tenants t on t.id = u.tenant_id where u.email = ${email}
      order by u.email_verified desc, u.is_active and t.is_active desc, u.created_at desc, u.id desc
      limit ${maxPerAddress}::int`,
  )
  return rows[0]?.emailVerified ? rows.slice(0, 1) : rows
}

/** The one that signs in with the address and is mailed at it. */
export async function findAccountByEmail(db: Database, email: string): Promise<Account | null> {
  const [account] = await findAccountsByEmail(db, email)
  return account ?? null
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

/** Stores a hash of the same password under newer parameters, unless the password has changed meanwhile. */
export async function replaceHash(db: Database, account: Account, newHash: string): Promise<void> {
  const scope: Scope = { tenantId: account.tenantId }
  await db.write(
    scope,
    sql`update users set password_hash = ${newHash} where tenant_id = ${account.tenantId} and id = ${account.userId}
      and password_hash = ${account.passwordHash}`,
  )
}
