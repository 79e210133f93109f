import { Elysia } from 'elysia'
import type { Deps } from '../../deps.ts'
import { json } from '../../http/answers.ts'
import { signedIn } from '../../http/authenticate.ts'
import { operation } from '../../http/docs/openapi-operation.ts'
import { auditActions } from './entry.ts'
import * as model from './model.ts'
import { listAudit } from './service.ts'

const meanings = Object.entries(auditActions)
  .map(([action, meaning]) => `- \`${action}\`: ${meaning}`)
  .join('\n')

export const auditRoutes = (deps: Deps) =>
  new Elysia({ prefix: '/api/v1/audit' })
    .use(signedIn(deps, 'admin'))
    .get('/', async ({ actor, query }) => json(await listAudit(deps, actor, query)), {
      query: model.AuditQuery,
      detail: operation({
        tag: 'Audit',
        id: 'listAudit',
        summary: 'Who did what',
        description: `The audit trail of one's own tenant, newest first; a super admin sees the platform's. \`from\` is
inclusive, \`to\` is not. Entries are kept AUDIT_RETENTION_DAYS and cannot be changed.\n\n${meanings}`,
        ok: { status: 200, description: 'A page of entries.', schema: model.AuditPage },
        errors: ['forbidden', 'invalid'],
      }),
    })
