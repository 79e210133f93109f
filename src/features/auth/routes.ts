import { Elysia } from 'elysia'
import type { Source } from '../../access/actor.ts'
import type { RateLimits } from '../../access/rate-limits.ts'
import { AppError } from '../../errors.ts'
import { json, noContent } from '../../http/answers.ts'
import { requestInfo, sourceOf } from '../../http/request-info.ts'
import type { Background } from '../../lib/background.ts'
import type { Store } from '../../store/store.ts'
import * as model from './model.ts'
import { type PasswordDeps, requestPasswordReset, resetPassword } from './password-changes.ts'
import { refresh, type SignInDeps, signIn } from './sign-in.ts'
import { ensureReachable, resendOtp, type VerificationDeps, verifyEmail } from './verification.ts'

export interface PublicAuthDeps extends SignInDeps, VerificationDeps, PasswordDeps {
  limits: RateLimits
  store: Store
  background: Background
}

/** Signing in and the mails around it: the routes anyone may call. */
export const publicAuthRoutes = (deps: PublicAuthDeps) => {
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
        const email = body.email
        await limits.ofAuth(requestInfo(request), email)
        const userAgent = (request.headers.get('user-agent') ?? '').slice(0, 200)
        return json(await signIn(deps, email, body.password, { ...sourceOf(request), userAgent }))
      },
      model.login,
    )
    .post(
      '/verify-email',
      async ({ body, request }) => {
        const email = body.email
        await limits.ofAuth(requestInfo(request), email)
        await verifyEmail(deps, email, body.otp, sourceOf(request))
        return json('{"email_verified":true}')
      },
      model.verifyEmail,
    )
    .post(
      '/resend-otp',
      async ({ body, request }) => {
        const email = body.email
        await limits.ofAuth(requestInfo(request), email)
        return later('resending a code', request, (source) => resendOtp(deps, email, source))
      },
      model.resendOtp,
    )
    .post(
      '/refresh',
      async ({ body, request }) => json(await refresh(deps, body.refresh_token, sourceOf(request))),
      model.refresh,
    )
    .post(
      '/forgot-password',
      async ({ body, request }) => {
        const email = body.email
        await limits.ofAuth(requestInfo(request), email)
        return later('mailing a password reset', request, (source) =>
          requestPasswordReset(deps, email, source),
        )
      },
      model.forgotPassword,
    )
    .post(
      '/reset-password',
      async ({ body, request }) => {
        await limits.ofAuth(requestInfo(request))
        await resetPassword(deps, body.token, body.new_password, sourceOf(request))
        return noContent()
      },
      model.resetPassword,
    )
}
