/** Proving an e-mail address by a mailed code. */
import { sql } from 'drizzle-orm'
import type { Deps } from '../../deps.ts'
import { AppError } from '../../errors.ts'
import { otpMail } from '../../mail/templates.ts'
import { findAccountByEmail, markEmailVerified } from './accounts.ts'
import type { Source } from './actor.ts'
import { recordingRefusal } from './refusals.ts'

export interface OtpRecipient {
  email: string
  fullName: string
}

/** Mails a new code; the one before it is dead. */
export async function sendOtp(
  deps: Pick<Deps, 'otps' | 'mailer' | 'otpTtlMinutes'>,
  { email, fullName }: OtpRecipient,
): Promise<void> {
  const code = await deps.otps.issue(email)
  deps.mailer.send(otpMail({ to: { email, fullName }, code, ttlMinutes: deps.otpTtlMinutes }))
}

/** @throws AppError database_unavailable, redis_unavailable (503) */
export async function ensureReachable({ db, store }: Pick<Deps, 'db' | 'store'>): Promise<void> {
  await Promise.all([db.read('system', sql`select 1`), store.ping()])
}

/** Does nothing for an address that is unknown, verified already or deactivated. The caller answers before. */
export async function resendOtp(deps: Deps, email: string): Promise<void> {
  const account = await findAccountByEmail(deps.db, email)
  if (account?.isActive && account.tenantIsActive && !account.emailVerified) await sendOtp(deps, account)
}

/** @throws AppError otp_invalid, otp_attempts_exceeded (400), rate_limited (429) */
export const verifyEmail = (deps: Deps, email: string, code: string, source: Source): Promise<void> =>
  recordingRefusal(deps.db, { action: 'auth.verification_failed', email, source }, async () => {
    await deps.otps.consume(email, code)
    if (!(await markEmailVerified(deps.db, email, source)))
      throw new AppError('otp_invalid', 'The code is wrong, used or expired.')
  })
