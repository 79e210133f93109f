/** Super admins: created by the operator, never over the API, with an address that counts as verified. */
import { randomBytes } from 'node:crypto'
import { type SQL, sql } from 'drizzle-orm'
import { internalSource } from '../../access/actor.ts'
import type { Database } from '../../db/database.ts'
import { platformTenantId } from '../../db/schema.ts'
import { OperatorError } from '../../errors.ts'
import { newId } from '../../lib/ids.ts'
import { auditStatement } from '../audit/entry.ts'
import { checkNewPassword, type Passwords } from '../auth/passwords.ts'
import { creationOf, emailTaken } from './service.ts'

export interface NewSuperAdmin {
  /** In lower case. */
  email: string
  fullName: string
  password: string
}

/** @throws AppError email_taken (409), invalid (422) */
export async function createSuperAdmin(
  db: Database,
  passwords: Passwords,
  { email, fullName, password }: NewSuperAdmin,
): Promise<void> {
  checkNewPassword(password, email, 'password')
  const passwordHash = await passwords.hash(password)
  await db.write('system', ...superAdminStatements(email, fullName, passwordHash)).catch((error: unknown) => {
    throw emailTaken(error)
  })
}

function superAdminStatements(email: string, fullName: string, passwordHash: string): [SQL, SQL] {
  const id = newId()
  const creation = creationOf({ id, email, role: 'super_admin' })
  return [
    sql`insert into users (tenant_id, id, email, full_name, role, password_hash, email_verified)
      values (${platformTenantId}, ${id}, ${email}, ${fullName}, 'super_admin', ${passwordHash}, true)`,
    auditStatement({ tenantId: platformTenantId, actor: null, source: internalSource, ...creation }),
  ]
}

export interface FirstAdmin {
  email: string
  /** Null when the operator set the password. */
  generatedPassword: string | null
}

/**
 * Creates the first super admin if there is none, under a lock: several instances may start at the same time.
 * @param given SUPER_ADMIN_EMAIL and SUPER_ADMIN_PASSWORD, or null where they are unset
 * @param generate whether to create one with a random password when they are unset (the embedded default)
 * @returns who was created, or null
 * @throws AppError invalid (422); OperatorError when a user of a tenant has the address
 */
export async function ensureSuperAdmin(
  db: Database,
  passwords: Passwords,
  given: { email: string; password: string } | null,
  generate: boolean,
): Promise<FirstAdmin | null> {
  if (!given && !generate) return null
  const generatedPassword = given ? null : randomBytes(16).toString('base64url')
  const email = given?.email ?? 'admin@minimart.local'
  if (given) checkNewPassword(given.password, email, 'SUPER_ADMIN_PASSWORD')
  const created = db.transaction('system', async (query) => {
    await query(sql`select pg_advisory_xact_lock(hashtextextended('minimart:first-super-admin', 0))`)
    const [some] = await query(sql<{ id: string }>`select id from users where role = 'super_admin' limit 1`)
    if (some) return null
    const passwordHash = await passwords.hash(given?.password ?? generatedPassword ?? '')
    for (const statement of superAdminStatements(email, 'Super Admin', passwordHash)) await query(statement)
    return { email, generatedPassword }
  })
  return await created.catch((error: unknown) => {
    const refusal = emailTaken(error)
    throw refusal === error ? error : addressInUse(email)
  })
}

const addressInUse = (email: string): OperatorError =>
  new OperatorError(
    `SUPER_ADMIN_EMAIL: a user of a tenant has ${email}, so the first super admin cannot. Choose another address, or ` +
      `free it with minimart release-address ${email}.`,
  )
