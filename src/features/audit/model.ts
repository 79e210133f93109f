import { type Static, t } from 'elysia'
import { operation } from '../../http/docs/openapi-operation.ts'
import { Cursor, Limit, QueryId, QueryTime } from '../../http/fields.ts'
import { auditActions } from './entry.ts'

const AuditAction = t.Union(
  Object.keys(auditActions).map((action) => t.Literal(action)),
  { expects: 'must be one of the actions that are recorded', examples: ['user.role_changed'] },
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
      'What they were then.',
    ),
    actor_email: orNull(t.String({ format: 'email' }), 'Their address today; null for people of elsewhere.'),
    target_type: orNull(
      t.Union([t.Literal('user'), t.Literal('tenant'), t.Literal('list'), t.Literal('session')]),
      'What it was done to.',
    ),
    target_id: orNull(t.String({ format: 'uuid' }), 'Which one.'),
    details: t.Object(
      {},
      { additionalProperties: true, description: 'What else is to be told of this action.' },
    ),
    address: orNull(t.String(), 'From where; null for what the service, its operator or the platform did.'),
    request_id: orNull(t.String(), 'The X-Request-Id of the call.'),
  },
  { $id: 'AuditEntry' },
)

export const AuditPage = t.Object({
  data: t.Array(AuditEntry),
  next_cursor: t.Union([t.String(), t.Null()]),
})

const meanings = Object.entries(auditActions)
  .map(([action, meaning]) => `- \`${action}\`: ${meaning}`)
  .join('\n')

export const listAudit = {
  query: AuditQuery,
  detail: operation({
    tag: 'Audit',
    id: 'listAudit',
    summary: 'Who did what',
    description: `The audit trail of one's own tenant, newest first; a super admin sees the platform's. \`from\` is
inclusive, \`to\` is not. Entries are kept AUDIT_RETENTION_DAYS and cannot be changed.\n\n${meanings}`,
    ok: { status: 200, description: 'A page of entries.', schema: AuditPage },
    errors: ['forbidden', 'invalid'],
  }),
}
