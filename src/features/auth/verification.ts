/** Proving an e-mail address by a mailed code. */

import { sql } from 'drizzle-orm'
import type { Source } from '../../access/actor.ts'
import type { Database } from '../../db/database.ts'
import { AppError } from '../../errors.ts'
import type { Mail } from '../../mail/mail.ts'
import type { Mailer } from '../../mail/mailer.ts'
import { otpMail } from '../../mail/templates.ts'
import type { Store } from '../../store/store.ts'
import { findAccountByEmail, markEmailVerified } from './accounts.ts'
import { type FailedAttempts, recordingFailure } from './failed-attempts.ts'
import type { Otps } from './otp.ts'

export interface OtpDeps {
  otps: Otps
  otpTtlMinutes: number
}

export interface VerificationDeps extends OtpDeps {
  db: Database
  failedAttempts: FailedAttempts
  mailer: Mailer
}

export interface OtpRecipient {
  userId: string
  email: string
  fullName: string
}

/**
 * A mail with a new code, for the caller to send; the previous code is dead. The user need not exist yet: a code is
 * issued before its user is created, so that no user exists who cannot get one.
 * @throws AppError redis_unavailable, database_unavailable (503)
 */
export async function newOtpMail(
  { otps, otpTtlMinutes }: OtpDeps,
  { userId, email, fullName }: OtpRecipient,
  { requestId }: Source,
): Promise<Mail> {
  const code = await otps.issue(userId)
  return otpMail({ to: { email, fullName }, code, ttlMinutes: otpTtlMinutes, requestId })
}

/**
 * Writes to the store rather than only reading from it: a Redis replica answers reads and refuses writes.
 * @throws AppError database_unavailable, redis_unavailable (503)
 */
export async function ensureReachable({ db, store }: { db: Database; store: Store }): Promise<void> {
  await Promise.all([db.read('system', sql`select 1`), store.set('reachable', '', 1)])
}

/** Does nothing for an address that is unknown, verified or deactivated. Runs after the request was answered. */
export async function resendOtp(deps: VerificationDeps, email: string, source: Source): Promise<void> {
  const account = await findAccountByEmail(deps.db, email)
  if (account?.isActive && account.tenantIsActive && !account.emailVerified)
    deps.mailer.send(await newOtpMail(deps, account, source))
}

/** @throws AppError otp_invalid, otp_attempts_exceeded (400), rate_limited (429) */
export const verifyEmail = (
  deps: VerificationDeps,
  email: string,
  code: string,
  source: Source,
): Promise<void> =>
  recordingFailure(deps.failedAttempts, { action: 'auth.verification_failed', email, source }, async () => {
    const account = await findAccountByEmail(deps.db, email)
    await deps.otps.consume(account ? { userId: account.userId } : { unknownEmail: email }, code)
    if (!account || !(await markEmailVerified(deps.db, account, source)))
      throw new AppError('otp_invalid', 'The code is wrong, used or expired.')
  })
