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

/** What members who are not admins see of each other. */
export const Colleague = t.Object(
  { id: t.String({ format: 'uuid' }), full_name: t.String(), email: t.String({ format: 'email' }) },
  { $id: 'Colleague' },
)

export const UserOrColleague = t.Union([User, Colleague])
export const UserPage = pageOf(UserOrColleague)

const tag = 'Users'

export const listUsers = operation(
  { query: UserQuery },
  {
    tag,
    id: 'listUsers',
    summary: 'List the people of my tenant',
    description:
      'Admins see everyone in full; others see the names and addresses of active users. Newest first.',
    ok: { status: 200, description: 'A page of users.', schema: UserPage },
    errors: ['invalid', 'forbidden'],
  },
)

export const getUser = operation(
  { params: UserPath },
  {
    tag,
    id: 'getUser',
    summary: 'Get one of them',
    ok: { status: 200, description: 'The user.', schema: UserOrColleague },
    errors: ['not_found', 'invalid', 'forbidden'],
  },
)

export const createUser = operation(
  { body: NewUser },
  {
    tag,
    id: 'createUser',
    summary: 'Add someone to my tenant',
    description:
      'They get a code by mail to verify their address. Until then others may have an account with it too, five in all; ' +
      'the first to be verified has the address, and the others are removed. email_taken is told 20 times an hour; past ' +
      'it nobody is added (429).',
    ok: { status: 201, description: 'Added.', schema: User },
    errors: ['forbidden', 'email_taken', 'redis_unavailable'],
  },
)

export const changeUser = operation(
  { params: UserPath, body: UserChange },
  {
    tag,
    id: 'changeUser',
    summary: "Change someone's name or role, or deactivate them",
    description: "A new role ends the user's access tokens, deactivation every session.",
    ok: { status: 200, description: 'As it is now.', schema: User },
    errors: ['forbidden', 'not_found', 'cannot_deactivate_self', 'last_admin'],
  },
)

export const deactivateUser = operation(
  { params: UserPath, body: NoBody },
  {
    tag,
    id: 'deactivateUser',
    summary: 'Deactivate someone',
    description: 'All their sessions end; what they wrote stays. PATCH with is_active true reactivates them.',
    ok: { status: 204, description: 'Deactivated.' },
    errors: ['forbidden', 'not_found', 'cannot_deactivate_self', 'last_admin'],
  },
)
