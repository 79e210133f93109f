import { type Static, t } from 'elysia'
import { Email, Name, NewPassword, Otp, PathId, strict, Token, TypedPassword } from '../../http/fields.ts'

export const Login = t.Object({ email: Email, password: TypedPassword }, strict)
export const VerifyEmail = t.Object({ email: Email, otp: Otp }, strict)
export const OnlyEmail = t.Object({ email: Email }, strict)
export const Refresh = t.Object({ refresh_token: Token }, strict)
export const ProfileChange = t.Object({ full_name: t.Optional(Name) }, strict)
export const ChangePassword = t.Object({ current_password: TypedPassword, new_password: NewPassword }, strict)
export const ResetPassword = t.Object({ token: Token, new_password: NewPassword }, strict)
export const SessionPath = t.Object({ id: PathId })

const time = (description: string) =>
  t.String({ format: 'date-time', description, examples: ['2026-11-22T07:00:00.000Z'] })
const id = (description?: string) => t.String({ format: 'uuid', ...(description ? { description } : {}) })

export const User = t.Object(
  {
    id: id(),
    tenant_id: t.Union([id(), t.Null()], { description: 'Null for a super admin.' }),
    email: t.String({ format: 'email' }),
    full_name: t.String(),
    role: t.Union([t.Literal('super_admin'), t.Literal('tenant_admin'), t.Literal('member')]),
    is_active: t.Boolean(),
    email_verified: t.Boolean(),
    created_at: time('When it was made.'),
    updated_at: time('When it last changed.'),
  },
  { $id: 'User' },
)
export type User = Static<typeof User>

export const Tokens = t.Object(
  {
    access_token: t.String({ description: 'A JWT for the Authorization header and the socket.' }),
    refresh_token: t.String({ description: 'Good for one use; the answer brings the next.' }),
    token_type: t.Literal('Bearer'),
    expires_in: t.Integer({ description: 'Seconds until the access token expires.' }),
    user: User,
  },
  { $id: 'Tokens' },
)

export const SessionView = t.Object(
  {
    id: id(),
    current: t.Boolean({ description: 'Whether this is the session that asks.' }),
    user_agent: t.String(),
    address: t.String({ description: 'Where it signed in from.' }),
    created_at: time('When it signed in.'),
    last_used_at: time('When it last refreshed its token.'),
    expires_at: time('When it ends unless it refreshes.'),
  },
  { $id: 'Session' },
)
