import { Elysia } from 'elysia'
import { json } from '../../http/answers.ts'
import { type ActorDeps, signedIn } from '../../http/authenticate.ts'
import * as model from './model.ts'
import { type AuditDeps, listAudit } from './service.ts'

export const auditRoutes = (deps: ActorDeps & AuditDeps) =>
  new Elysia({ prefix: '/api/v1/audit' })
    .use(signedIn(deps, 'admin'))
    .get('/', async ({ actor, query }) => json(await listAudit(deps, actor, query)), model.listAudit)
