/** New passwords: set by a signed-in user or by a mailed link. One commit changes the password and ends the sessions. */

import { sql } from 'drizzle-orm'
import type { Caller, Source } from '../../access/actor.ts'
import type { LimitedRequest, RateLimits } from '../../access/rate-limits.ts'
import { onRepeatedRevocation } from '../../access/revocations.ts'
import { platformTenantId } from '../../db/schema.ts'
import { AppError } from '../../errors.ts'
import { logFailure } from '../../lib/background.ts'
import type { Mail } from '../../mail/mail.ts'
import { passwordChangedMail, passwordResetMail } from '../../mail/templates.ts'
import { type AuditAction, type AuditEntry, auditStatement } from '../audit/entry.ts'
import { type Account, findAccount, findAccountByEmail } from './accounts.ts'
import { type FailedAttempts, recordingFailure } from './failed-attempts.ts'
import { provenUser } from './hashing-line.ts'
import { type MailDeps, mailSecret } from './mailed-secrets.ts'
import { type PasswordResets, resetTtlMinutes } from './password-resets.ts'
import { checkNewPassword, type Passwords } from './passwords.ts'
import type { SessionDeps } from './sign-in.ts'

export interface PasswordDeps extends SessionDeps, MailDeps {
  passwords: Passwords
  passwordResets: PasswordResets
  failedAttempts: FailedAttempts
  limits: RateLimits
  /** Base of the links in mails. */
  publicUrl: string
}

/** Every other session of the user ends. @throws AppError current_password_wrong (400), invalid (422), busy (503) */
export async function changePassword(
  deps: PasswordDeps,
  actor: Caller,
  given: GivenPasswords,
): Promise<void> {
  const account = await findAccount(deps.db, actor.tenantId, actor.userId)
  if (!account) throw new AppError('token_revoked', 'This account no longer exists.')
  const { email } = account
  await deps.limits.ofSession(given.request, actor.sessionId)
  await recordingFailure(
    deps.failedAttempts,
    { action: 'auth.password_change_failed', email, source: actor },
    () => changeKnownPassword(deps, actor, account, given),
  )
}

interface GivenPasswords {
  current: string
  next: string
  request: LimitedRequest
}

async function changeKnownPassword(
  deps: PasswordDeps,
  actor: Caller,
  account: Account,
  { current, next }: GivenPasswords,
): Promise<void> {
  if (!(await deps.passwords.verify(account.passwordHash, current, provenUser(actor.userId))))
    throw new AppError('current_password_wrong', 'The current password is wrong.')
  checkNewPassword(next, account.email, 'new_password')
  // Fails here, before anything has changed, when the sessions cannot be reached.
  await deps.sessions.list(actor.userId)
  const newHash = await deps.passwords.hash(next, provenUser(actor.userId))
  const entry = { ...entryOf(account, 'auth.password_changed', actor), actor }
  const sessionEpoch = await setPassword(deps, account, newHash, actor.sessionId, entry)
  if (sessionEpoch === null)
    throw new AppError('current_password_wrong', 'The password was changed elsewhere at the same moment.')
  // The database has ended the others already; should this fail, this session has to sign in again as well.
  const exempt = { sessionId: actor.sessionId, sessionEpoch }
  await logFailure(deps.log, 'ending other sessions', deps.sessions.endAll(actor.userId, exempt))
}

/**
 * Mails a link if the address belongs to an active account, unless the last one may still be on its way or the address
 * has had its share of mails.
 * @throws AppError busy, redis_unavailable, database_unavailable (503)
 */
export async function requestPasswordReset(deps: PasswordDeps, email: string, source: Source): Promise<void> {
  const found = await findAccountByEmail(deps.db, email)
  const account = found?.isActive && found.tenantIsActive ? found : null
  const secret = await deps.passwordResets.renew(account, deps.limits.mayMail)
  const mail = secret && account && resetMail(deps, account, secret.value, source)
  // Without a mail it records nothing, and takes as long.
  const recorded = sql`(select where ${mail !== null}::boolean) mailed`
  const entry = entryOf(account ?? nobodysAccount, 'auth.password_reset_requested', source)
  await mailSecret(deps, secret, mail, auditStatement(entry, recorded))
}

const nobodysAccount = { tenantId: platformTenantId, userId: platformTenantId }

const resetMail = ({ publicUrl }: PasswordDeps, to: Account, token: string, { requestId }: Source): Mail => {
  const url = `${publicUrl}/reset-password?token=${token}`
  return passwordResetMail({ to, url, ttlMinutes: resetTtlMinutes, requestId })
}

/** Every session of the user ends. @throws AppError reset_token_invalid (400), invalid (422), busy (503) */
export const resetPassword = (
  deps: PasswordDeps,
  token: string,
  next: string,
  source: Source,
): Promise<void> =>
  recordingFailure(deps.failedAttempts, { action: 'auth.password_reset_failed', email: null, source }, () =>
    setForgottenPassword(deps, token, next, source),
  )

async function setForgottenPassword(
  deps: PasswordDeps,
  token: string,
  next: string,
  source: Source,
): Promise<void> {
  const grant = await deps.passwordResets.check(token)
  const account = grant && (await findAccount(deps.db, grant.tenantId, grant.userId))
  if (!grant || !account?.isActive || !account.tenantIsActive || account.sessionEpoch !== grant.sessionEpoch)
    throw resetTokenInvalid()
  checkNewPassword(next, account.email, 'new_password')
  const newHash = await deps.passwords.hash(next, provenUser(account.userId))
  if (!(await deps.passwordResets.consume(token))) throw resetTokenInvalid()
  const entry = entryOf(account, 'auth.password_reset', source)
  if ((await setPassword(deps, account, newHash, null, entry)) === null) throw resetTokenInvalid()
  await logFailure(deps.log, 'ending sessions', deps.sessions.endAll(account.userId))
}

const resetTokenInvalid = (): AppError =>
  new AppError('reset_token_invalid', 'This link is wrong, used or expired. Ask for a new one.')

/** Unauthenticated: there is no actor. */
const entryOf = (
  { tenantId, userId }: Pick<Account, 'tenantId' | 'userId'>,
  action: AuditAction,
  source: Source,
): AuditEntry => ({
  tenantId,
  action,
  actor: null,
  source,
  target: { type: 'user', id: userId },
})

interface ChangedEpochs {
  tokenEpoch: number
  sessionEpoch: number
  exemptEpoch: number | null
}

/** @returns the new session epoch, or null when the password has changed since the account was read */
async function setPassword(
  deps: PasswordDeps,
  account: Account,
  newHash: string,
  exemptSession: string | null,
  entry: AuditEntry,
): Promise<number | null> {
  const { tenantId, userId } = account
  const { requestId } = entry.source
  const mail = passwordChangedMail({ to: account, at: new Date(), publicUrl: deps.publicUrl, requestId })
  const mayMail = await deps.limits.mayMail(account.email)
  const [changed] = await deps.db.write(
    { tenantId },
    sql<ChangedEpochs>`with changed as (
        update users set password_hash = ${newHash}, token_epoch = token_epoch + 1,
          session_epoch = session_epoch + 1, updated_at = clock_timestamp()
        where tenant_id = ${tenantId} and id = ${userId} and password_hash = ${account.passwordHash}
        returning tenant_id, id, token_epoch, session_epoch
      ), revoked as (
        insert into revocations (tenant_id, subject, minimum_epoch, spared_session, spared_epoch)
        select tenant_id, id, token_epoch, ${exemptSession}::uuid,
          case when ${exemptSession}::uuid is not null then token_epoch - 1 end
        from changed ${onRepeatedRevocation} returning spared_epoch
      ), audited as (${auditStatement(entry, sql`changed`)}
      ), queued as (${deps.outbox.queue(tenantId, mail, sql`changed where ${mayMail}::boolean`)})
      select token_epoch as "tokenEpoch", session_epoch as "sessionEpoch",
        (select spared_epoch from revoked) as "exemptEpoch" from changed`,
  )
  if (!changed) return null
  deps.revocations.learn({
    tenantId,
    subject: userId,
    minimumEpoch: changed.tokenEpoch,
    ...(exemptSession === null || changed.exemptEpoch === null
      ? {}
      : { exempt: { sessionId: exemptSession, fromEpoch: changed.exemptEpoch } }),
  })
  deps.outbox.wake()
  return changed.sessionEpoch
}
