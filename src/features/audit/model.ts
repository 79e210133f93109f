import { type Static, t } from 'elysia'
import { operation } from '../../http/docs/openapi-operation.ts'
import { Cursor, Limit, pageOf, QueryId, QueryTime } from '../../http/fields.ts'
import { auditActions, listedPerHour } from './entry.ts'

const AuditAction = t.Union(
  Object.keys(auditActions).map((action) => t.Literal(action)),
  { expects: 'must be a recorded action', examples: ['user.role_changed'] },
)

export const AuditQuery = t.Object({
  limit: Limit,
  cursor: Cursor,
  action: t.Optional(AuditAction),
  actor_id: QueryId,
  target_id: QueryId,
  from: QueryTime,
  to: QueryTime,
})
export type AuditQuery = Static<typeof AuditQuery>

const orNull = <T extends Parameters<typeof t.Union>[0][number]>(schema: T, description: string) =>
  t.Union([schema, t.Null()], { description })

export const AuditEntry = t.Object(
  {
    id: t.String({ format: 'uuid' }),
    at: t.String({ format: 'date-time' }),
    action: AuditAction,
    actor_id: orNull(t.String({ format: 'uuid' }), 'Who did it; null where nobody was signed in.'),
    actor_role: orNull(
      t.Union([t.Literal('super_admin'), t.Literal('tenant_admin'), t.Literal('member')]),
      'Their role at that time.',
    ),
    actor_email: orNull(
      t.String({ format: 'email' }),
      'Their current address; null for people of other tenants.',
    ),
    target_type: orNull(
      t.Union([t.Literal('user'), t.Literal('tenant'), t.Literal('list'), t.Literal('session')]),
      'The kind of thing that it was done to.',
    ),
    target_id: orNull(t.String({ format: 'uuid' }), 'Which one.'),
    details: t.Object({}, { additionalProperties: true, description: 'Further details of this action.' }),
    address: orNull(
      t.String(),
      "The client's address, or the block of addresses that are counted together; null for what the service, its operator or the platform did.",
    ),
    request_id: orNull(t.String(), 'The X-Request-Id of the call; null where several are counted.'),
  },
  { $id: 'AuditEntry' },
)

export const AuditPage = pageOf(AuditEntry)

const meanings = Object.entries(auditActions)
  .map(([action, meaning]) => `- \`${action}\`: ${meaning}`)
  .join('\n')

export const listAudit = operation(
  { query: AuditQuery },
  {
    tag: 'Audit',
    id: 'listAudit',
    summary: 'Who did what',
    description: `The audit trail of your tenant, newest first; a super admin sees the platform's. \`from\` is
inclusive, \`to\` is not. Entries cannot be changed. They are kept for AUDIT_RETENTION_DAYS, refused attempts for
AUDIT_REFUSALS_RETENTION_DAYS.

Of the refused attempts for one account, the first ${listedPerHour} of an hour have entries of their own. Those for
addresses that have no account are counted, in the platform's trail: one entry for an address block (\`address\`, an
IPv4 /24 or IPv6 /48), hour, action and reason, with \`at\` the beginning of that hour, \`details.count\` and
\`details.last_at\`. A \`request_id\` that begins with \`given:\` was chosen by a caller who was not signed
in.\n\n${meanings}`,
    ok: { status: 200, description: 'A page of entries.', schema: AuditPage },
    errors: ['forbidden', 'invalid'],
  },
)
