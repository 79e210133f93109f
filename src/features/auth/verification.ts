/** Proving an e-mail address by a mailed code. */

import type { Source } from '../../access/actor.ts'
import type { Query } from '../../db/database.ts'
import { AppError } from '../../errors.ts'
import { otpMail } from '../../mail/templates.ts'
import { type Account, findAccountByEmail, findAccountsByEmail } from './accounts.ts'
import { markEmailVerified } from './addresses.ts'
import { type FailedAttempts, recordingFailure } from './failed-attempts.ts'
import { type MailDeps, mailSecret } from './mailed-secrets.ts'
import type { Otps } from './otp.ts'

export interface VerificationDeps extends MailDeps {
  failedAttempts: FailedAttempts
  otps: Otps
  otpTtlMinutes: number
}

export interface NewUserCode {
  code: string
  tenantId: string
  tenantName: string
  email: string
  fullName: string
}

/**
 * Queues the mail with a new user's first code. In the transaction that creates the user, as its last step: what is
 * refused must not count against the recipient. The code is issued before, so that no user exists who cannot get one.
 */
export async function queueFirstCode(
  { limits, outbox, otpTtlMinutes: ttlMinutes }: VerificationDeps,
  query: Query,
  { tenantId, tenantName, code, email, fullName }: NewUserCode,
  { requestId }: Source,
): Promise<void> {
  if (!(await limits.mayMail(email))) return
  const to = { email, fullName }
  await query(outbox.queue(tenantId, otpMail({ to, tenantName, code, ttlMinutes, requestId })))
}

/**
 * Mails a new code, unless the last one may still be on its way or the address has had its share of mails.
 * @param account null: nobody, in the same time
 * @throws AppError busy, redis_unavailable, database_unavailable (503)
 */
export async function mailCode(
  deps: VerificationDeps,
  account: Account | null,
  { requestId }: Source,
): Promise<void> {
  const secret = await deps.otps.renew(account, deps.limits.mayMail)
  const { otpTtlMinutes: ttlMinutes } = deps
  const mail =
    secret && account && otpMail({ ...account, to: account, code: secret.value, ttlMinutes, requestId })
  await mailSecret(deps, secret, mail)
}

/** Mails nothing to an address that is unknown, verified or deactivated. */
export async function resendOtp(deps: VerificationDeps, email: string, source: Source): Promise<void> {
  const account = await findAccountByEmail(deps.db, email)
  const isWaiting = account?.isActive && account.tenantIsActive && !account.emailVerified
  await mailCode(deps, isWaiting ? account : null, source)
}

/** @throws AppError otp_invalid, otp_attempts_exceeded (400), rate_limited (429) */
export const verifyEmail = (
  deps: VerificationDeps,
  email: string,
  code: string,
  source: Source,
): Promise<void> =>
  recordingFailure(deps.failedAttempts, { action: 'auth.verification_failed', email, source }, async () => {
    const [first, ...others] = await findAccountsByEmail(deps.db, email)
    if (!first) await deps.otps.consume([{ unknownEmail: email }], code)
    const account = first && (await deps.otps.consume([first, ...others], code))
    if (!account || !(await markEmailVerified(deps, account, source)))
      throw new AppError('otp_invalid', 'The code is wrong, used or expired.')
  })
