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
  strict,
} from '../../http/fields.ts'
import { User } from '../auth/model.ts'

const Role = t.Union([t.Literal('member'), t.Literal('tenant_admin')], {
  expects: 'must be member or tenant_admin',
})

export const NewUser = t.Object(
  { email: Email, full_name: Name, password: NewPassword, role: t.Optional(Role) },
  strict,
)
export type NewUser = Static<typeof NewUser>

export const UserChange = t.Object(
  {
    full_name: t.Optional(Name),
    role: t.Optional(Role),
    is_active: t.Optional(t.Boolean({ expects: 'must be true or false' })),
  },
  strict,
)
export type UserChange = Static<typeof UserChange>

export const UserQuery = t.Object({
  limit: Limit,
  cursor: Cursor,
  search: Search,
  is_active: QueryBoolean,
  role: t.Optional(Role),
})
export type UserQuery = Static<typeof UserQuery>

export const UserPath = t.Object({ id: PathId })

/** What members who are no admins see of each other. */
export const Colleague = t.Object(
  { id: t.String({ format: 'uuid' }), full_name: t.String(), email: t.String({ format: 'email' }) },
  { $id: 'Colleague' },
)

export const UserOrColleague = t.Union([User, Colleague])
export const UserPage = t.Object({
  data: t.Array(UserOrColleague),
  next_cursor: t.Union([t.String(), t.Null()]),
})
