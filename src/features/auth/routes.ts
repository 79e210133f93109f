import { Elysia } from 'elysia'
import type { RateLimits } from '../../access/rate-limits.ts'
import { json, noContent } from '../../http/answers.ts'
import { requestInfo, sourceOf } from '../../http/request-info.ts'
import * as model from './model.ts'
import { type PasswordDeps, requestPasswordReset, resetPassword } from './password-changes.ts'
import { refresh, type SignInDeps, signIn } from './sign-in.ts'
import { resendOtp, type VerificationDeps, verifyEmail } from './verification.ts'

export interface PublicAuthDeps extends SignInDeps, VerificationDeps, PasswordDeps {
  limits: RateLimits
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
        await resendOtp(deps, email, sourceOf(request))
        return accepted()
      },
      model.resendOtp,
    )
    .post(
      '/refresh',
      async ({ body, request }) => {
        deps.limits.ofOpen(requestInfo(request))
        return json(await refresh(deps, body.refresh_token, sourceOf(request)))
      },
      model.refresh,
    )
    .post(
      '/forgot-password',
      async ({ body: { email }, request }) => {
        await counted(request, email)
        await requestPasswordReset(deps, email, sourceOf(request))
        return accepted()
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

/** The same whether or not the address is known, and in the same time (mailed-secrets.ts). */
const accepted = (): Response => new Response(null, { status: 202 })
