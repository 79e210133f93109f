import { Elysia } from 'elysia'
import type { Deps } from '../../deps.ts'
import { json, noContent } from '../../http/answers.ts'
import { signedIn } from '../../http/authenticate.ts'
import { operation } from '../../http/docs/openapi-operation.ts'
import { NoBody } from '../../http/fields.ts'
import * as model from './model.ts'
import { changeTenant, createTenant, getTenant, listTenants } from './service.ts'

const tag = 'Tenants'

export const tenantRoutes = (deps: Deps) =>
  new Elysia({ prefix: '/api/v1/tenants' })
    .use(signedIn(deps, 'super_admin'))
    .post('/', async ({ actor, body }) => json(await createTenant(deps, actor, body), { status: 201 }), {
      body: model.NewTenant,
      detail: operation({
        tag,
        id: 'createTenant',
        summary: 'Create a tenant with its first admin',
        description: 'Either both exist afterwards or neither. The admin gets a code by mail.',
        body: true,
        ok: { status: 201, description: 'Created.', schema: model.CreatedTenant },
        errors: ['forbidden', 'slug_taken', 'email_taken', 'redis_unavailable'],
      }),
    })
    .get('/', async ({ query }) => json(await listTenants(deps, query)), {
      query: model.TenantQuery,
      detail: operation({
        tag,
        id: 'listTenants',
        summary: 'List tenants, newest first',
        ok: { status: 200, description: 'A page of tenants.', schema: model.TenantPage },
        errors: ['forbidden', 'invalid'],
      }),
    })
    .get('/:id', async ({ params }) => json(await getTenant(deps, params.id.toLowerCase())), {
      params: model.TenantPath,
      detail: operation({
        tag,
        id: 'getTenant',
        summary: 'See a tenant and how much is in it',
        ok: { status: 200, description: 'The tenant.', schema: model.TenantDetail },
        errors: ['forbidden', 'not_found', 'invalid'],
      }),
    })
    .patch(
      '/:id',
      async ({ actor, params, body }) => json(await changeTenant(deps, actor, params.id.toLowerCase(), body)),
      {
        params: model.TenantPath,
        body: model.TenantChange,
        detail: operation({
          tag,
          id: 'changeTenant',
          summary: 'Rename, deactivate or bring back a tenant',
          body: true,
          ok: { status: 200, description: 'As it is now.', schema: model.Tenant },
          errors: ['forbidden', 'not_found', 'slug_taken'],
        }),
      },
    )
    .delete(
      '/:id',
      async ({ actor, params }) => {
        await changeTenant(deps, actor, params.id.toLowerCase(), { is_active: false })
        return noContent()
      },
      {
        params: model.TenantPath,
        body: NoBody,
        detail: operation({
          tag,
          id: 'deactivateTenant',
          summary: 'Deactivate a tenant',
          description:
            'Every session of its users ends; its data stays. PATCH with is_active true brings it back.',
          body: true,
          ok: { status: 204, description: 'Deactivated.' },
          errors: ['forbidden', 'not_found'],
        }),
      },
    )
