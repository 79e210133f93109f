import { Elysia, t } from 'elysia'
import type { Source } from '../../access/actor.ts'
import type { Deps } from '../../deps.ts'
import { AppError } from '../../errors.ts'
import { json, noContent } from '../../http/answers.ts'
import { operation } from '../../http/docs/openapi-operation.ts'
import { requestInfo, sourceOf } from '../../http/request-info.ts'
import * as model from './model.ts'
import { requestPasswordReset, resetPassword } from './password-changes.ts'
import { refresh, signIn } from './sign-in.ts'
import { ensureReachable, resendOtp, verifyEmail } from './verification.ts'

const tag = 'Auth'
const accepted = { status: 202, description: 'Accepted, whether or not the address is known.' }
const tokens = { status: 200, description: 'Signed in.', schema: model.Tokens }

/** Signing in and the mails around it: the routes anyone may call. */
export const publicAuthRoutes = (deps: Deps) => {
  const { limits } = deps

  /** Answered before it is done, so that its time tells nothing about the address. */
  const later = async (
    what: string,
    request: Request,
    work: (source: Source) => Promise<unknown>,
  ): Promise<Response> => {
    // Whoever the address belongs to, an outage is told rather than swallowed.
    await ensureReachable(deps)
    const source = sourceOf(request)
    if (!deps.background.run(what, source.requestId, () => work(source)))
      throw new AppError('busy', 'Too many mails are waiting. Try again in a moment.', {
        retryAfterSeconds: 5,
      })
    return new Response(null, { status: 202 })
  }

  return new Elysia({ prefix: '/api/v1/auth' })
    .post(
      '/login',
      async ({ body, request }) => {
        const email = body.email.toLowerCase()
        await limits.ofAuth(requestInfo(request), email)
        const userAgent = (request.headers.get('user-agent') ?? '').slice(0, 200)
        return json(await signIn(deps, email, body.password, { ...sourceOf(request), userAgent }))
      },
      {
        body: model.Login,
        detail: operation({
          tag,
          id: 'login',
          summary: 'Sign in',
          public: true,
          body: true,
          ok: tokens,
          errors: [
            'invalid_credentials',
            'email_not_verified',
            'account_deactivated',
            'tenant_deactivated',
            'redis_unavailable',
          ],
        }),
      },
    )
    .post(
      '/verify-email',
      async ({ body, request }) => {
        const email = body.email.toLowerCase()
        await limits.ofAuth(requestInfo(request), email)
        await verifyEmail(deps, email, body.otp, sourceOf(request))
        return json('{"email_verified":true}')
      },
      {
        body: model.VerifyEmail,
        detail: operation({
          tag,
          id: 'verifyEmail',
          summary: 'Prove an e-mail address with the mailed code',
          public: true,
          body: true,
          ok: {
            status: 200,
            description: 'Verified.',
            schema: t.Object({ email_verified: t.Literal(true) }),
          },
          errors: ['otp_invalid', 'otp_attempts_exceeded', 'redis_unavailable'],
        }),
      },
    )
    .post(
      '/resend-otp',
      async ({ body, request }) => {
        const email = body.email.toLowerCase()
        await limits.ofAuth(requestInfo(request), email)
        return later('resending a code', request, (source) => resendOtp(deps, email, source))
      },
      {
        body: model.OnlyEmail,
        detail: operation({
          tag,
          id: 'resendOtp',
          summary: 'Mail a new code',
          public: true,
          body: true,
          ok: accepted,
          errors: ['redis_unavailable'],
        }),
      },
    )
    .post(
      '/refresh',
      async ({ body, request }) => json(await refresh(deps, body.refresh_token, sourceOf(request))),
      {
        body: model.Refresh,
        detail: operation({
          tag,
          id: 'refresh',
          summary: 'Trade the refresh token for new tokens',
          description:
            'The token is good for one use. Within 10 seconds, asking again with it gives the same successor, so a lost ' +
            'answer costs nothing; later, its reuse ends the session.',
          public: true,
          limited: false,
          body: true,
          ok: tokens,
          errors: ['refresh_token_invalid', 'refresh_token_reused', 'redis_unavailable'],
        }),
      },
    )
    .post(
      '/forgot-password',
      async ({ body, request }) => {
        const email = body.email.toLowerCase()
        await limits.ofAuth(requestInfo(request), email)
        return later('mailing a password reset', request, (source) =>
          requestPasswordReset(deps, email, source),
        )
      },
      {
        body: model.OnlyEmail,
        detail: operation({
          tag,
          id: 'forgotPassword',
          summary: 'Mail a link for setting a new password',
          public: true,
          body: true,
          ok: accepted,
          errors: ['redis_unavailable'],
        }),
      },
    )
    .post(
      '/reset-password',
      async ({ body, request }) => {
        await limits.ofAuth(requestInfo(request))
        await resetPassword(deps, body.token, body.new_password, sourceOf(request))
        return noContent()
      },
      {
        body: model.ResetPassword,
        detail: operation({
          tag,
          id: 'resetPassword',
          summary: 'Set a new password with the token from the mail',
          public: true,
          body: true,
          ok: { status: 204, description: 'Changed; every session of the user has ended.' },
          errors: ['reset_token_invalid', 'redis_unavailable'],
        }),
      },
    )
}
