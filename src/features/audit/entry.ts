/**
 * The audit trail: who did what, on what, from where and when. An entry is written by the statement, or in the
 * transaction, that makes the change it tells of, so that neither is ever there without the other; what was refused is
 * written before the refusal is answered. Entries hold no secrets and nothing of what is on lists.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Caller, Role, Source } from '../../access/actor.ts'
import { platformTenantId } from '../../db/schema.ts'
import { newId } from '../../lib/ids.ts'

/** Everything that is recorded, and what it means. */
export const auditActions = {
  'auth.signed_in': 'Signed in.',
  'auth.sign_in_failed': 'A sign-in was refused; `details.reason` is its code.',
  'auth.signed_out': 'Signed out.',
  'auth.session_ended': 'Ended one of their own sessions from another.',
  'auth.refresh_token_reused': 'A rotated refresh token came again, so its session was ended.',
  'auth.email_verified': 'An address was proved.',
  'auth.verification_failed': 'A code was refused; `details.reason` is its code.',
  'auth.password_changed': 'Changed their password.',
  'auth.password_change_failed': 'Gave a wrong current password.',
  'auth.password_reset_requested': 'A link for a new password was mailed.',
  'auth.password_reset': 'A new password was set by a mailed link.',
  'auth.password_reset_failed': 'A link for a new password was refused.',
  'user.created': 'Someone was added.',
  'user.changed': 'A name was changed.',
  'user.role_changed': 'Someone got another role.',
  'user.deactivated': 'Someone was deactivated.',
  'user.reactivated': 'Someone was brought back.',
  'user.removed': 'Someone who never proved their address was removed.',
  'tenant.created': 'The tenant was made.',
  'tenant.changed': 'The tenant got another name or slug.',
  'tenant.deactivated': 'The tenant was deactivated.',
  'tenant.reactivated': 'The tenant was brought back.',
  'tenant.exported': 'The operator wrote the tenant into an archive.',
  'tenant.imported': 'The operator brought the tenant in from an archive.',
  'invitation.sent': 'Someone was invited to a list.',
  'invitation.accepted': 'An invitee joined a list.',
  'invitation.rejected': 'An invitee declined.',
  'member.role_changed': 'A member of a list got another role.',
  'member.removed': 'A member was removed from a list.',
  'member.left': 'A member left a list.',
  'list.handed_over': 'A list got another owner.',
} as const

export type AuditAction = keyof typeof auditActions

export interface AuditEntry {
  /** Whose trail it stands in. */
  tenantId: string | SQL
  action: AuditAction | SQL
  /** Null where nobody was signed in. */
  actor: { userId: string; role: Role } | null
  source: Source
  target?: { type: 'user' | 'tenant' | 'list' | 'session'; id: string | SQL }
  details?: Readonly<Record<string, unknown>> | SQL
}

/** What an entry of something that `caller` did begins with. */
export const by = (caller: Caller): Pick<AuditEntry, 'tenantId' | 'actor' | 'source'> => ({
  tenantId: caller.tenantId,
  actor: caller,
  source: caller,
})

const once = sql`(select) once`

/**
 * The statement that writes an entry, on its own or as a step of another one.
 * @param from where the entry's expressions come from: it is written once for each of its rows, of different tenants
 */
export const auditStatement = (entry: AuditEntry, from: SQL = once): SQL => {
  const { tenantId, action, actor, source, target, details } = entry
  return sql`
    insert into audit_log (tenant_id, id, action, actor_id, actor_role, target_type, target_id, details, address, request_id)
    select ${tenantId}::uuid, ${newId()}::uuid, ${action}::text, ${actor?.userId ?? null}::uuid, ${actor?.role ?? null}::text,
      ${target?.type ?? null}::text, ${target?.id ?? null}::uuid, ${detailsOf(details)}::jsonb,
      ${source.address}::text, ${source.requestId}::text
    from ${from}`
}

const detailsOf = (details: AuditEntry['details']): SQL =>
  details && 'getSQL' in details ? sql`${details}` : sql`${JSON.stringify(details ?? {})}`

/** What the platform does to a tenant stands in both trails; in the tenant's without the operator's address. */
export const auditOfTenant = (
  caller: Caller,
  tenantId: string,
  entry: AuditOfTenant,
  from: SQL = once,
): SQL[] => {
  const common = { ...entry, actor: caller, target: { type: 'tenant' as const, id: tenantId } }
  return [
    auditStatement({ ...common, tenantId: platformTenantId, source: caller }, from),
    auditStatement({ ...common, tenantId, source: { ...caller, address: null } }, from),
  ]
}

type AuditOfTenant = Pick<AuditEntry, 'action' | 'details'>

/** `{field: {from, to}}` of the fields that differ between the rows `before` and `after`, as jsonb. */
export const differences = (before: string, after: string, fields: readonly string[]): SQL =>
  sql.raw(
    `jsonb_strip_nulls(jsonb_build_object(${fields
      .map(
        (field) => `'${field}', case when ${before}.${field} is distinct from ${after}.${field}
          then jsonb_build_object('from', ${before}.${field}, 'to', ${after}.${field}) end`,
      )
      .join(', ')}))`,
  )
