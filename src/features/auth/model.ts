import { type Static, t } from 'elysia'
import { operation } from '../../http/docs/openapi-operation.ts'
import {
  Email,
  Name,
  NewPassword,
  NoBody,
  Otp,
  PathId,
  strict,
  Token,
  TypedPassword,
} from '../../http/fields.ts'

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
    created_at: time('When it was created.'),
    updated_at: time('When it last changed.'),
  },
  { $id: 'User' },
)
export type User = Static<typeof User>

export const Tokens = t.Object(
  {
    access_token: t.String({ description: 'A JWT for the Authorization header and the socket.' }),
    refresh_token: t.String({ description: 'Works once; the answer has the next one.' }),
    token_type: t.Literal('Bearer'),
    expires_in: t.Integer({ description: 'Seconds until the access token expires.' }),
    user: User,
  },
  { $id: 'Tokens' },
)

export const SessionView = t.Object(
  {
    id: id(),
    current: t.Boolean({ description: 'Whether this is the session of the call.' }),
    user_agent: t.String(),
    address: t.String({ description: 'Where it signed in from.' }),
    created_at: time('When it signed in.'),
    last_used_at: time('When it was last refreshed.'),
    expires_at: time('When it ends unless it is refreshed.'),
  },
  { $id: 'Session' },
)

const tag = 'Auth'
const accepted = { status: 202, description: 'Accepted, whether or not the address is known.' }
const tokens = { status: 200, description: 'Signed in.', schema: Tokens }

const user = { status: 200, description: 'The caller.', schema: User }

export const login = operation(
  { body: Login },
  {
    tag,
    id: 'login',
    summary: 'Sign in',
    description: 'Where several accounts wait for the address to be verified, the one made last is meant.',
    public: true,
    ok: tokens,
    errors: [
      'invalid_credentials',
      'email_not_verified',
      'account_deactivated',
      'tenant_deactivated',
      'redis_unavailable',
    ],
  },
)

export const verifyEmail = operation(
  { body: VerifyEmail },
  {
    tag,
    id: 'verifyEmail',
    summary: 'Verify an e-mail address with the mailed code',
    description:
      'Verifies the account that the code was mailed for. Accounts of other tenants that wait for this address are removed.',
    public: true,
    ok: {
      status: 200,
      description: 'Verified.',
      schema: t.Object({ email_verified: t.Literal(true) }),
    },
    errors: ['otp_invalid', 'otp_attempts_exceeded', 'redis_unavailable'],
  },
)

export const resendOtp = operation(
  { body: OnlyEmail },
  {
    tag,
    id: 'resendOtp',
    summary: 'Mail a new code',
    description:
      'Within two minutes of the last one, and to an address that has had its share of mails, nothing is sent.',
    public: true,
    ok: accepted,
    errors: ['redis_unavailable'],
  },
)

export const refresh = operation(
  { body: Refresh },
  {
    tag,
    id: 'refresh',
    summary: 'Exchange the refresh token for new tokens',
    description:
      'A refresh token works once. Within 10 seconds, using it again returns the same successor, so that a lost answer ' +
      'costs nothing; after that, reuse ends the session.',
    public: true,
    ok: tokens,
    errors: ['refresh_token_invalid', 'refresh_token_reused', 'redis_unavailable'],
  },
)

export const forgotPassword = operation(
  { body: OnlyEmail },
  {
    tag,
    id: 'forgotPassword',
    summary: 'Mail a link to set a new password',
    description:
      'The last three links work until one is used. Within two minutes of the last one, and to an address that has had ' +
      'its share of mails, nothing is sent.',
    public: true,
    ok: accepted,
    errors: ['redis_unavailable'],
  },
)

export const resetPassword = operation(
  { body: ResetPassword },
  {
    tag,
    id: 'resetPassword',
    summary: 'Set a new password with the token from the mail',
    public: true,
    ok: { status: 204, description: 'Changed; every session of the user has ended.' },
    errors: ['reset_token_invalid', 'redis_unavailable'],
  },
)

export const getMe = operation({}, { tag, id: 'getMe', summary: 'Who am I', ok: user })

export const changeMe = operation(
  { body: ProfileChange },
  { tag, id: 'changeMe', summary: 'Change my name', ok: user },
)

export const logout = operation(
  { body: NoBody },
  {
    tag,
    id: 'logout',
    summary: 'End this session',
    ok: { status: 204, description: "This session's tokens and sockets have ended." },
  },
)

export const changePassword = operation(
  { body: ChangePassword },
  {
    tag,
    id: 'changePassword',
    summary: 'Change my password',
    ok: { status: 204, description: 'Changed; every other session has ended.' },
    errors: ['current_password_wrong', 'redis_unavailable'],
  },
)

export const listSessions = operation(
  {},
  {
    tag,
    id: 'listSessions',
    summary: 'My signed-in devices',
    ok: {
      status: 200,
      description: 'At most 50, most recently used first.',
      schema: t.Object({ data: t.Array(SessionView), next_cursor: t.Null() }),
    },
    errors: ['redis_unavailable'],
  },
)

export const endSession = operation(
  { params: SessionPath, body: NoBody },
  {
    tag,
    id: 'endSession',
    summary: 'Sign a device out',
    ok: { status: 204, description: 'Its tokens and sockets have ended.' },
    errors: ['not_found', 'redis_unavailable'],
  },
)
