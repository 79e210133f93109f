import { Elysia } from 'elysia'
import { json, noContent } from '../../http/answers.ts'
import { type ActorDeps, signedIn } from '../../http/authenticate.ts'
import { requestInfo } from '../../http/request-info.ts'
import * as model from './model.ts'
import { changeUser, createUser, getUser, listUsers, type UserDeps } from './service.ts'

/** For everyone of a tenant. */
export const colleagueRoutes = (deps: ActorDeps & UserDeps) =>
  new Elysia({ prefix: '/api/v1/users' })
    .use(signedIn(deps, 'customer'))
    .get('/', async ({ actor, query }) => json(await listUsers(deps, actor, query)), model.listUsers)
    .get('/:id', async ({ actor, params }) => json(await getUser(deps, actor, params.id)), model.getUser)

export const userAdminRoutes = (deps: ActorDeps & UserDeps) =>
  new Elysia({ prefix: '/api/v1/users' })
    .use(signedIn(deps, 'tenant_admin'))
    .post(
      '/',
      async ({ actor, body, request }) => {
        await deps.limits.ofTenantMails(requestInfo(request), actor.tenantId)
        return json(await createUser(deps, actor, body), { status: 201 })
      },
      model.createUser,
    )
    .patch(
      '/:id',
      async ({ actor, params, body }) => json(await changeUser(deps, actor, params.id, body)),
      model.changeUser,
    )
    .delete(
      '/:id',
      async ({ actor, params }) => {
        await changeUser(deps, actor, params.id, { is_active: false })
        return noContent()
      },
      model.deactivateUser,
    )
