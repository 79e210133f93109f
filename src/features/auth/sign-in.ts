/** Signing in, staying signed in and signing out. */

import type { SQL } from 'drizzle-orm'
import type { AccessTokens } from '../../access/access-tokens.ts'
import type { Actor, Caller, Source } from '../../access/actor.ts'
import type { KnownNetworks } from '../../access/known-networks.ts'
import { type Revocations, revocationStatement } from '../../access/revocations.ts'
import type { Database } from '../../db/database.ts'
import { AppError } from '../../errors.ts'
import { logFailure } from '../../lib/background.ts'
import type { Logger } from '../../log.ts'
import { type AuditEntry, auditStatement, by } from '../audit/entry.ts'
import {
  type Account,
  findAccount,
  findAccountByEmail,
  findAccountOfSession,
  replaceHash,
} from './accounts.ts'
import { type FailedAttempts, recordingFailure } from './failed-attempts.ts'
import { signingIn } from './hashing-line.ts'
import type { Passwords } from './passwords.ts'
import type { Session, Sessions } from './sessions.ts'
import { mailCode, type VerificationDeps } from './verification.ts'

export interface SessionDeps {
  db: Database
  log: Logger
  sessions: Sessions
  revocations: Revocations
}

export interface SignInDeps extends SessionDeps, VerificationDeps {
  tokens: AccessTokens
  passwords: Passwords
  knownNetworks: KnownNetworks
  failedAttempts: FailedAttempts
}

export interface Device extends Source {
  userAgent: string
}

/**
 * Refusals are recorded in the audit trail, as sign-ins are.
 * @returns the tokens and the user as JSON text
 * @throws AppError invalid_credentials (401), email_not_verified, account_deactivated, tenant_deactivated (403), busy
 */
export const signIn = (deps: SignInDeps, email: string, password: string, device: Device): Promise<string> =>
  recordingFailure(deps.failedAttempts, { action: 'auth.sign_in_failed', email, source: device }, () =>
    beginSession(deps, email, password, device),
  )

async function beginSession(
  deps: SignInDeps,
  email: string,
  password: string,
  device: Device,
): Promise<string> {
  const account = await findAccountByEmail(deps.db, email)
  const asker = signingIn(deps.knownNetworks, email, device.address)
  const isRight = await deps.passwords.verify(account?.passwordHash ?? null, password, asker)
  if (!account || !isRight)
    throw new AppError('invalid_credentials', 'The e-mail address or the password is wrong.')
  await refuseUnready(deps, account, device)
  if (deps.passwords.isOutdated(account.passwordHash))
    await replaceHash(deps.db, account, await deps.passwords.hash(password, asker))
  const { userId, tenantId, sessionEpoch, tenantEpoch } = account
  const { address, userAgent } = device
  const begun = await deps.sessions.begin({
    ...{ userId, tenantId, sessionEpoch, tenantEpoch },
    ...{ address: address ?? 'unknown', userAgent },
  })
  // The account may have been deactivated, or its password changed, while the session began.
  const now = await findAccount(deps.db, tenantId, userId)
  if (!now || !isCurrent(begun.session, now)) {
    await deps.sessions.end(userId, begun.session.id)
    throw new AppError('invalid_credentials', 'The account changed while signing in. Try again.')
  }
  const ended = begun.pushedOut.map(({ id }) => ({ tenantId, subject: id, minimumEpoch: 1 }))
  const remembered = deps.knownNetworks.remember(email, device.address ?? 'unknown')
  await Promise.all([
    deps.db.write(now, ...ended.map(revocationStatement), signedInEntry(now, begun.session.id, device)),
    logFailure(deps.log, 'remembering the network of a sign-in', remembered),
  ])
  for (const revocation of ended) deps.revocations.learn(revocation)
  return tokenAnswer(deps.tokens, now, begun.session.id, begun.refreshToken)
}

const signedInEntry = ({ tenantId, userId, role }: Account, sessionId: string, device: Device): SQL =>
  auditStatement({
    tenantId,
    action: 'auth.signed_in',
    actor: { userId, role },
    source: device,
    target: { type: 'session', id: sessionId },
    details: { user_agent: device.userAgent },
  })

/** Runs after the password was verified: only then may the caller learn the state of the account. */
async function refuseUnready(deps: SignInDeps, account: Account, source: Source): Promise<void> {
  if (!account.isActive) throw new AppError('account_deactivated', 'This account has been deactivated.')
  if (!account.tenantIsActive) throw new AppError('tenant_deactivated', 'This tenant has been deactivated.')
  if (account.emailVerified) return
  await mailCode(deps, account, source)
  throw new AppError('email_not_verified', 'Verify your e-mail address first: a code has been mailed to it.')
}

const isCurrent = (session: Session, account: Account): boolean =>
  account.isActive &&
  account.tenantIsActive &&
  session.sessionEpoch === account.sessionEpoch &&
  session.tenantEpoch === account.tenantEpoch

async function tokenAnswer(
  tokens: AccessTokens,
  account: Account,
  sessionId: string,
  refreshToken: string,
): Promise<string> {
  const answer = {
    access_token: await tokens.issue(account, sessionId),
    refresh_token: refreshToken,
    token_type: 'Bearer',
    expires_in: tokens.ttlSeconds,
  }
  return `${JSON.stringify(answer).slice(0, -1)},"user":${account.userJson}}`
}

/**
 * Reads the database before it rotates the token, so that an outage costs nobody the session, however much longer
 * than the grace period it lasts. A change in between does no harm: the new access token carries the epochs of before.
 * @returns as signIn
 * @throws AppError refresh_token_invalid, refresh_token_reused (401)
 */
export async function refresh(deps: SignInDeps, refreshToken: string, source: Source): Promise<string> {
  const found = await deps.sessions.find(refreshToken)
  if (!found) throw refreshTokenInvalid()
  const { userId, session } = found
  const account = await findAccountOfSession(deps.db, session.tenantId, userId, session.id)
  if (!account || account.sessionIsRevoked || !isCurrent(session, account)) {
    await deps.sessions.end(userId, session.id)
    throw refreshTokenInvalid()
  }
  const rotation = await deps.sessions.rotate(refreshToken)
  if (rotation.outcome === 'unknown') throw refreshTokenInvalid()
  if (rotation.outcome === 'reused') {
    const reuse = {
      tenantId: session.tenantId,
      action: 'auth.refresh_token_reused',
      actor: null,
      source,
    } as const
    await revokeSession(deps, session.tenantId, session.id, {
      ...reuse,
      target: { type: 'user', id: userId },
    })
    await deps.sessions.end(userId, session.id)
    throw new AppError(
      'refresh_token_reused',
      'This refresh token was used before, so it may have been copied. The session has ended; sign in again.',
    )
  }
  return tokenAnswer(deps.tokens, account, session.id, rotation.refreshToken)
}

const refreshTokenInvalid = (): AppError =>
  new AppError('refresh_token_invalid', 'The session has ended. Sign in again.')

/** The actor's sessions that can still be refreshed, most recently used first, as JSON text. */
export async function listSessions(deps: SessionDeps, actor: Actor): Promise<string> {
  const sessions = await deps.sessions.list(actor.userId)
  const account = await findAccount(deps.db, actor.tenantId, actor.userId)
  const data = sessions
    .filter((session) => account !== null && isCurrent(session, account))
    .map((session) => ({
      id: session.id,
      current: session.id === actor.sessionId,
      user_agent: session.userAgent,
      address: session.address,
      created_at: session.createdAt,
      last_used_at: session.lastUsedAt,
      expires_at: session.expiresAt,
    }))
  return JSON.stringify({ data, next_cursor: null })
}

/** Ends one of the actor's own sessions, the current one included. @returns whether there was one */
export async function endSession(deps: SessionDeps, actor: Caller, sessionId: string): Promise<boolean> {
  const isCurrentSession = sessionId === actor.sessionId
  if (
    !isCurrentSession &&
    !(await deps.sessions.list(actor.userId)).some((session) => session.id === sessionId)
  )
    return false
  // The database first: from then on the session is dead even if the store cannot be reached.
  const action = isCurrentSession ? 'auth.signed_out' : 'auth.session_ended'
  await revokeSession(deps, actor.tenantId, sessionId, {
    ...by(actor),
    action,
    target: { type: 'session', id: sessionId },
  })
  await logFailure(deps.log, 'ending a session', deps.sessions.end(actor.userId, sessionId))
  return true
}

async function revokeSession(
  deps: SessionDeps,
  tenantId: string,
  sessionId: string,
  entry: AuditEntry,
): Promise<void> {
  const revocation = { tenantId, subject: sessionId, minimumEpoch: 1 }
  await deps.db.write({ tenantId }, auditStatement(entry), revocationStatement(revocation))
  deps.revocations.learn(revocation)
}
