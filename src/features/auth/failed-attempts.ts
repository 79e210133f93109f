/** Refused sign-ins, codes and passwords, for the audit trail. */
import { type SQL, sql } from 'drizzle-orm'
import type { Source } from '../../access/actor.ts'
import type { Database } from '../../db/database.ts'
import { platformTenantId } from '../../db/schema.ts'
import { AppError } from '../../errors.ts'
import { type AuditAction, auditStatement } from '../audit/entry.ts'

export interface RefusedAttempt {
  action: Extract<AuditAction, `auth.${string}_failed`>
  /** What was tried: an address, which need not be anyone's, or nothing that leads to one. */
  email: string | null
  source: Source
}

/** A password that is not good enough, or a limit reached, is nobody's guess. */
const refusals: ReadonlySet<number> = new Set([400, 401, 403])

/**
 * `attempt`, and when it is refused, an entry of it in the trail of the tenant the address belongs to, or in the
 * platform's where it belongs to nobody: one statement either way, so that the time it takes tells nothing.
 */
export async function recordingRefusal<T>(
  db: Database,
  { action, email, source }: RefusedAttempt,
  attempt: () => Promise<T>,
): Promise<T> {
  try {
    return await attempt()
  } catch (error) {
    if (error instanceof AppError && refusals.has(error.status))
      await db.write('system', refusalEntry(action, email, source, error.code))
    throw error
  }
}

const refusalEntry = (action: AuditAction, email: string | null, source: Source, reason: string): SQL =>
  auditStatement(
    {
      tenantId: sql`coalesce(u.tenant_id, ${platformTenantId}::uuid)`,
      action,
      actor: null,
      source,
      target: { type: 'user', id: sql`u.id` },
      details: { ...(email === null ? {} : { email }), reason },
    },
    sql`(select) once left join users u on u.email = ${email}`,
  )
