import { type Static, t } from 'elysia'
import {
  Cursor,
  Email,
  Limit,
  Name,
  NewPassword,
  PathId,
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
export const TenantPage = t.Object({ data: t.Array(Tenant), next_cursor: t.Union([t.String(), t.Null()]) })
