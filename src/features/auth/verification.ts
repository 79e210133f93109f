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
import { recordingRefusal } from './failed-attempts.ts'
import type { Otps } from './otp.ts'

export interface OtpDeps {
  otps: Otps
  otpTtlMinutes: number
}

export interface VerificationDeps extends OtpDeps {
  db: Database
  mailer: Mailer
}

export interface OtpRecipient {
  userId: string
  email: string
  fullName: string
}

/**
 * A mail with a new code, to be sent once there is reason to; the code before it is dead. The user need not be there
 * yet: whoever makes one has this first, so that nobody is made who then gets no code.
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
 * The store is written to, not only asked: a Redis that takes no writes, as a replica does, would lose what comes next.
 * @throws AppError database_unavailable, redis_unavailable (503)
 */
export async function ensureReachable({ db, store }: { db: Database; store: Store }): Promise<void> {
  await Promise.all([db.read('system', sql`select 1`), store.set('reachable', '', 1)])
}

/** Does nothing for an address that is unknown, verified already or deactivated. The caller answers before. */
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
  recordingRefusal(deps.db, { action: 'auth.verification_failed', email, source }, async () => {
    const account = await findAccountByEmail(deps.db, email)
    await deps.otps.consume(account?.userId ?? email, code)
    if (!(await markEmailVerified(deps.db, email, source)))
      throw new AppError('otp_invalid', 'The code is wrong, used or expired.')
  })
