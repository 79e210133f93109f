/**
 * The audit trail: who did what to what, from where and when. An entry is written by the statement or in the
 * transaction of the change it records, so that neither exists without the other; a refusal is recorded before it is
 * answered. Entries hold no secrets and nothing of the contents of lists.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Caller, Role, Source } from '../../access/actor.ts'
import { platformTenantId } from '../../db/schema.ts'
import { newId } from '../../lib/ids.ts'

/** All recorded actions and their meanings. */
export const auditActions = {
  'auth.signed_in': 'Signed in.',
  'auth.sign_in_failed': 'A sign-in was refused; `details.reason` is its code.',
  'auth.signed_out': 'Signed out.',
  'auth.session_ended': 'Ended one of their own sessions from another.',
  'auth.refresh_token_reused': 'A rotated refresh token was used again, so its session was ended.',
  'auth.email_verified': 'An address was verified.',
  'auth.verification_failed': 'A code was refused; `details.reason` is its code.',
  'auth.password_changed': 'Changed their password.',
  'auth.password_change_failed': 'Gave a wrong current password.',
  'auth.password_reset_requested': 'A reset link was mailed.',
  'auth.password_reset': 'A new password was set by a mailed link.',
  'auth.password_reset_failed': 'A reset link was refused.',
  'auth.refusals_counted':
    'More attempts for one account were refused in the hour that began then; `details.count` says how many.',
  'user.created': 'A user was added.',
  'user.changed': 'A name was changed.',
  'user.role_changed': 'A user was given another role.',
  'user.deactivated': 'A user was deactivated.',
  'user.reactivated': 'A user was reactivated.',
  'user.removed': 'A user who never verified their address was removed.',
  'user.address_released':
    'A user lost their address and was deactivated: `details.reason` is `operator`, or `verified_elsewhere` where they ' +
    'had not verified it and its owner did so in another tenant.',
  'user.creation_failed': 'Adding a user was refused: an account has the address.',
  'tenant.created': 'The tenant was created.',
  'tenant.changed': 'The name or slug of the tenant was changed.',
  'tenant.deactivated': 'The tenant was deactivated.',
  'tenant.reactivated': 'The tenant was reactivated.',
  'tenant.exported': 'The operator exported the tenant.',
  'tenant.imported': 'The operator imported the tenant.',
  'invitation.sent': 'A user was invited to a list.',
  'invitation.accepted': 'An invitee joined a list.',
  'invitation.rejected': 'An invitee declined.',
  'member.role_changed': 'A member of a list was given another role.',
  'member.removed': 'A member was removed from a list.',
  'member.left': 'A member left a list.',
  'list.handed_over': 'A list was handed over to another owner.',
} as const

export type AuditAction = keyof typeof auditActions

/** Refused attempts for one account, in one hour, that have entries of their own. */
export const listedPerHour = 20
/** The action under which those beyond are counted. */
export const countedForAccount: AuditAction = 'auth.refusals_counted'

export interface AuditEntry {
  /** Whose trail it belongs to. */
  tenantId: string | SQL
  action: AuditAction | SQL
  /** Null where nobody was signed in. */
  actor: { userId: string; role: Role } | null
  source: Source
  target?: { type: 'user' | 'tenant' | 'list' | 'session'; id: string | SQL }
  details?: Readonly<Record<string, unknown>> | SQL
}

/** The part of an entry that says who did it. */
export const by = (caller: Caller): Pick<AuditEntry, 'tenantId' | 'actor' | 'source'> => ({
  tenantId: caller.tenantId,
  actor: caller,
  source: caller,
})

const once = sql`(select) once`

/**
 * A statement that writes an entry, on its own or as a step of another.
 * @param from a from clause that the entry's expressions read; one entry is written per row, and the rows must belong to
 *   different tenants
 */
export const auditStatement = (entry: AuditEntry, from: SQL = once): SQL => {
  const { tenantId, action, actor, source, target, details } = entry
  return sql`
    insert into audit_log (tenant_id, id, action, actor_id, actor_role, target_type, target_id, details, address, request_id)
    select ${tenantId}::uuid, ${newId()}::uuid, ${action}::text, ${actor?.userId ?? null}::uuid, ${actor?.role ?? null}::text,
      ${target?.type ?? null}::text, ${target?.id ?? null}::uuid, ${detailsOf(details)}::jsonb,
      ${source.address}::text, ${requestIdOf(actor, source)}::text
    from ${from}`
}

/** A stranger may choose the id of somebody else's request, so theirs are marked as such. */
export const requestIdOf = (
  actor: AuditEntry['actor'],
  { requestId, choseRequestId }: Source,
): string | null =>
  actor === null && requestId !== null && choseRequestId ? `given:${requestId}` : requestId

const detailsOf = (details: AuditEntry['details']): SQL =>
  details && 'getSQL' in details ? sql`${details}` : sql`${JSON.stringify(details ?? {})}`

/** What the platform does to a tenant goes into both trails; into the tenant's without the super admin's address. */
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

/** `{field: {from, to}}` as jsonb, for the fields that differ between the rows `before` and `after`. */
export const differences = (before: string, after: string, fields: readonly string[]): SQL =>
  sql.raw(
    `jsonb_strip_nulls(jsonb_build_object(${fields
      .map(
        (field) => `'${field}', case when ${before}.${field} is distinct from ${after}.${field}
          then jsonb_build_object('from', ${before}.${field}, 'to', ${after}.${field}) end`,
      )
      .join(', ')}))`,
  )
