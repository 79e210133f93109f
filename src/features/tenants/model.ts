import { type Static, t } from 'elysia'
import { operation } from '../../http/docs/openapi-operation.ts'
import {
  Cursor,
  Email,
  Limit,
  Name,
  NewPassword,
  NoBody,
  PathId,
  pageOf,
  QueryBoolean,
  Search,
  Slug,
  strict,
} from '../../http/fields.ts'
import { User } from '../auth/model.ts'

export const NewTenant = t.Object(
  {
    name: Name,
    slug: t.Optional(Slug),
    admin: t.Object({ email: Email, full_name: Name, password: NewPassword }, strict),
  },
  strict,
)
export type NewTenant = Static<typeof NewTenant>

export const TenantChange = t.Object(
  {
    name: t.Optional(Name),
    slug: t.Optional(Slug),
    is_active: t.Optional(t.Boolean({ expects: 'must be true or false' })),
  },
  strict,
)
export type TenantChange = Static<typeof TenantChange>

export const TenantQuery = t.Object({ limit: Limit, cursor: Cursor, search: Search, is_active: QueryBoolean })
export type TenantQuery = Static<typeof TenantQuery>

export const TenantPath = t.Object({ id: PathId })

const fields = {
  id: t.String({ format: 'uuid' }),
  name: t.String(),
  slug: t.String(),
  is_active: t.Boolean(),
  created_at: t.String({ format: 'date-time' }),
  updated_at: t.String({ format: 'date-time' }),
}

export const Tenant = t.Object(fields, { $id: 'Tenant' })
export const CreatedTenant = t.Object({ ...fields, admin: User }, { $id: 'CreatedTenant' })
export const TenantDetail = t.Object(
  {
    ...fields,
    user_count: t.Integer({ description: 'Active users.' }),
    list_count: t.Integer({ description: 'Lists not deleted.' }),
  },
  { $id: 'TenantDetail' },
)
export const TenantPage = pageOf(Tenant)

const tag = 'Tenants'

export const createTenant = operation(
  { body: NewTenant },
  {
    tag,
    id: 'createTenant',
    summary: 'Create a tenant with its first admin',
    description: 'Creates both or neither. The admin gets a code by mail.',
    ok: { status: 201, description: 'Created.', schema: CreatedTenant },
    errors: ['forbidden', 'slug_taken', 'email_taken', 'redis_unavailable'],
  },
)

export const listTenants = operation(
  { query: TenantQuery },
  {
    tag,
    id: 'listTenants',
    summary: 'List tenants, newest first',
    ok: { status: 200, description: 'A page of tenants.', schema: TenantPage },
    errors: ['forbidden', 'invalid'],
  },
)

export const getTenant = operation(
  { params: TenantPath },
  {
    tag,
    id: 'getTenant',
    summary: 'Get a tenant with its counts',
    ok: { status: 200, description: 'The tenant.', schema: TenantDetail },
    errors: ['forbidden', 'not_found', 'invalid'],
  },
)

export const changeTenant = operation(
  { params: TenantPath, body: TenantChange },
  {
    tag,
    id: 'changeTenant',
    summary: 'Rename, deactivate or reactivate a tenant',
    ok: { status: 200, description: 'As it is now.', schema: Tenant },
    errors: ['forbidden', 'not_found', 'slug_taken'],
  },
)

export const deactivateTenant = operation(
  { params: TenantPath, body: NoBody },
  {
    tag,
    id: 'deactivateTenant',
    summary: 'Deactivate a tenant',
    description: 'All sessions of its users end; its data stays. PATCH with is_active true reactivates it.',
    ok: { status: 204, description: 'Deactivated.' },
    errors: ['forbidden', 'not_found'],
  },
)
