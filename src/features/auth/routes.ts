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

/** Signing in and the mails around it: the routes that need no token. */
export const publicAuthRoutes = (deps: PublicAuthDeps) => {
  const counted = (request: Request, account?: string) => deps.limits.ofAuth(requestInfo(request), account)
  return new Elysia({ prefix: '/api/v1/auth' })
    .post(
      '/login',
      async ({ body: { email, password }, request }) => {
        await counted(request, email)
        const userAgent = (request.headers.get('user-agent') ?? '').slice(0, 200)
        return json(await signIn(deps, email, password, { ...sourceOf(request), userAgent }))
      },
      model.login,
    )
    .post(
      '/verify-email',
      async ({ body: { email, otp }, request }) => {
        await counted(request, email)
        await verifyEmail(deps, email, otp, sourceOf(request))
        return json('{"email_verified":true}')
      },
      model.verifyEmail,
    )
    .post(
      '/resend-otp',
      async ({ body: { email }, request }) => {
        await counted(request, email)
        return accept(deps, request, 'resending a code', (source) => resendOtp(deps, email, source))
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
      async ({ body: { email }, request }) => {
        await counted(request, email)
        return accept(deps, request, 'mailing a reset link', (source) =>
          requestPasswordReset(deps, email, source),
        )
      },
      model.forgotPassword,
    )
    .post(
      '/reset-password',
      async ({ body: { token, new_password: next }, request }) => {
        await counted(request)
        await resetPassword(deps, token, next, sourceOf(request))
        return noContent()
      },
      model.resetPassword,
    )
}

/** Answers 202 before the work is done, so that the time of the answer reveals nothing about the address. */
async function accept(
  deps: PublicAuthDeps,
  request: Request,
  what: string,
  work: (source: Source) => Promise<unknown>,
): Promise<Response> {
  // An outage is reported, whoever the address belongs to, rather than swallowed.
  await ensureReachable(deps)
  const source = sourceOf(request)
  if (!deps.background.run(what, source.requestId, () => work(source)))
    throw new AppError('busy', 'Too many mails are waiting. Try again in a moment.', {
      retryAfterSeconds: 5,
    })
  return new Response(null, { status: 202 })
}
