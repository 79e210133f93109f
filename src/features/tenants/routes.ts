import { Elysia } from 'elysia'
import { json, noContent } from '../../http/answers.ts'
import { type ActorDeps, signedIn } from '../../http/authenticate.ts'
import { requestInfo } from '../../http/request-info.ts'
import type { UserDeps } from '../users/service.ts'
import * as model from './model.ts'
import { changeTenant, createTenant, getTenant, listTenants } from './service.ts'

export const tenantRoutes = (deps: ActorDeps & UserDeps) =>
  new Elysia({ prefix: '/api/v1/tenants' })
    .use(signedIn(deps, 'super_admin'))
    .post(
      '/',
      async ({ actor, body, request }) => {
        await deps.limits.ofTenantMails(requestInfo(request), actor.tenantId)
        return json(await createTenant(deps, actor, body), { status: 201 })
      },
      model.createTenant,
    )
    .get('/', async ({ query }) => json(await listTenants(deps, query)), model.listTenants)
    .get('/:id', async ({ params }) => json(await getTenant(deps, params.id)), model.getTenant)
    .patch(
      '/:id',
      async ({ actor, params, body }) => json(await changeTenant(deps, actor, params.id, body)),
      model.changeTenant,
    )
    .delete(
      '/:id',
      async ({ actor, params }) => {
        await changeTenant(deps, actor, params.id, { is_active: false })
        return noContent()
      },
      model.deactivateTenant,
    )
