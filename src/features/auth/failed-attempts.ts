/** Audit of failures: refused sign-ins, codes and passwords. */
import { type SQL, sql } from 'drizzle-orm'
import type { Source } from '../../access/actor.ts'
import type { Database } from '../../db/database.ts'
import { platformTenantId } from '../../db/schema.ts'
import { AppError } from '../../errors.ts'
import { type AuditAction, auditStatement } from '../audit/entry.ts'

export interface Attempt {
  action: Extract<AuditAction, `auth.${string}_failed`>
  /** The address that was given, known or not; null where nothing leads to one. */
  email: string | null
  source: Source
}

/** Neither a password that is too weak nor an exhausted limit (422, 429) is a guess. */
const recordedStatuses: ReadonlySet<number> = new Set([400, 401, 403])

/**
 * Runs `attempt` and, when it is refused, records that in the trail of the address's tenant, or in the platform's for
 * an unknown address: one statement either way, so that its time reveals nothing.
 */
export async function recordingFailure<T>(
  db: Database,
  { action, email, source }: Attempt,
  attempt: () => Promise<T>,
): Promise<T> {
  try {
    return await attempt()
  } catch (error) {
    if (error instanceof AppError && recordedStatuses.has(error.status))
      await db.write('system', failureEntry(action, email, source, error.code))
    throw error
  }
}

const failureEntry = (action: AuditAction, email: string | null, source: Source, reason: string): SQL =>
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
