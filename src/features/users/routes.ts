import { Elysia } from 'elysia'
import type { Deps } from '../../deps.ts'
import { json, noContent } from '../../http/answers.ts'
import { signedIn } from '../../http/authenticate.ts'
import { operation } from '../../http/docs/openapi-operation.ts'
import { NoBody } from '../../http/fields.ts'
import { User } from '../auth/model.ts'
import * as model from './model.ts'
import { changeUser, createUser, getUser, listUsers } from './service.ts'

const tag = 'Users'

/** Everyone of a tenant may see who else is there. */
export const colleagueRoutes = (deps: Deps) =>
  new Elysia({ prefix: '/api/v1/users' })
    .use(signedIn(deps, 'customer'))
    .get('/', async ({ actor, query }) => json(await listUsers(deps, actor, query)), {
      query: model.UserQuery,
      detail: operation({
        tag,
        id: 'listUsers',
        summary: 'List the people of my tenant',
        description: 'Admins see all, in full; others see the active ones by name and address. Newest first.',
        ok: { status: 200, description: 'A page of users.', schema: model.UserPage },
        errors: ['invalid', 'forbidden'],
      }),
    })
    .get('/:id', async ({ actor, params }) => json(await getUser(deps, actor, params.id)), {
      params: model.UserPath,
      detail: operation({
        tag,
        id: 'getUser',
        summary: 'See one of them',
        ok: { status: 200, description: 'The user.', schema: model.UserOrColleague },
        errors: ['not_found', 'invalid', 'forbidden'],
      }),
    })

export const userAdminRoutes = (deps: Deps) =>
  new Elysia({ prefix: '/api/v1/users' })
    .use(signedIn(deps, 'tenant_admin'))
    .post('/', async ({ actor, body }) => json(await createUser(deps, actor, body), { status: 201 }), {
      body: model.NewUser,
      detail: operation({
        tag,
        id: 'createUser',
        summary: 'Add someone to my tenant',
        description: 'They get a code by mail to prove their address.',
        body: true,
        ok: { status: 201, description: 'Added.', schema: User },
        errors: ['forbidden', 'email_taken', 'redis_unavailable'],
      }),
    })
    .patch(
      '/:id',
      async ({ actor, params, body }) => json(await changeUser(deps, actor, params.id.toLowerCase(), body)),
      {
        params: model.UserPath,
        body: model.UserChange,
        detail: operation({
          tag,
          id: 'changeUser',
          summary: "Change someone's name, role or standing",
          description: "A new role ends the user's access tokens, deactivation every session.",
          body: true,
          ok: { status: 200, description: 'As it is now.', schema: User },
          errors: ['forbidden', 'not_found', 'cannot_deactivate_self', 'last_admin'],
        }),
      },
    )
    .delete(
      '/:id',
      async ({ actor, params }) => {
        await changeUser(deps, actor, params.id.toLowerCase(), { is_active: false })
        return noContent()
      },
      {
        params: model.UserPath,
        body: NoBody,
        detail: operation({
          tag,
          id: 'deactivateUser',
          summary: 'Deactivate someone',
          description:
            'Every session of theirs ends; what they wrote stays. PATCH with is_active true brings them back.',
          body: true,
          ok: { status: 204, description: 'Deactivated.' },
          errors: ['forbidden', 'not_found', 'cannot_deactivate_self', 'last_admin'],
        }),
      },
    )
