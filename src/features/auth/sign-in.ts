/** Signing in, staying signed in and signing out. */
import type { Deps } from '../../deps.ts'
import { AppError } from '../../errors.ts'
import { tidyUp } from '../../lib/tidy-up.ts'
import type { AccessTokens } from './access-tokens.ts'
import {
  type Account,
  findAccount,
  findAccountByEmail,
  findAccountOfSession,
  replaceHash,
} from './accounts.ts'
import type { Actor } from './actor.ts'
import { isOutdated } from './passwords.ts'
import { revocationStatement } from './revocations.ts'
import type { Session } from './sessions.ts'
import { sendOtp } from './verification.ts'

export interface Device {
  address: string
  userAgent: string
}

/** Answers the tokens and the user as JSON text. */
export async function signIn(deps: Deps, email: string, password: string, device: Device): Promise<string> {
  const account = await findAccountByEmail(deps.db, email)
  const right = await deps.passwords.verify(account?.passwordHash ?? null, password)
  if (!account || !right)
    throw new AppError('invalid_credentials', 'The e-mail address or the password is wrong.')
  await refuseUnready(deps, account)
  if (isOutdated(account.passwordHash))
    await replaceHash(deps.db, account, await deps.passwords.hash(password))
  const { userId, tenantId, sessionEpoch, tenantEpoch } = account
  const begun = await deps.sessions.begin({ userId, tenantId, sessionEpoch, tenantEpoch, ...device })
  // The account may have been deactivated, or its password changed, while the session began.
  const now = await findAccount(deps.db, tenantId, userId)
  if (!now || !goesOn(begun.session, now)) {
    await deps.sessions.end(userId, begun.session.id)
    throw new AppError('invalid_credentials', 'The account changed while signing in. Try again.')
  }
  return tokenAnswer(deps.tokens, now, begun.session.id, begun.refreshToken)
}

/** Only whoever knows the password learns what state the account is in. */
async function refuseUnready(deps: Deps, account: Account): Promise<void> {
  if (!account.isActive) throw new AppError('account_deactivated', 'This account has been deactivated.')
  if (!account.tenantIsActive) throw new AppError('tenant_deactivated', 'This tenant has been deactivated.')
  if (account.emailVerified) return
  deps.background.run('sending a code', () => sendOtp(deps, account))
  throw new AppError('email_not_verified', 'Verify your e-mail address first: a code has been mailed to it.')
}

const goesOn = (session: Session, account: Account): boolean =>
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
 * Answers as signIn does. The database is asked before the token is rotated: an outage of it then costs nobody the
 * session, however much longer than the grace it lasts. What changes in between is no danger, for the new access
 * token carries the epochs of before the change.
 * @throws AppError refresh_token_invalid, refresh_token_reused (401)
 */
export async function refresh(deps: Deps, refreshToken: string): Promise<string> {
  const found = await deps.sessions.find(refreshToken)
  if (!found) throw refreshTokenInvalid()
  const { userId, session } = found
  const account = await findAccountOfSession(deps.db, session.tenantId, userId, session.id)
  if (!account || account.sessionIsRevoked || !goesOn(session, account)) {
    await deps.sessions.end(userId, session.id)
    throw refreshTokenInvalid()
  }
  const rotation = await deps.sessions.rotate(refreshToken)
  if (rotation.outcome === 'unknown') throw refreshTokenInvalid()
  if (rotation.outcome === 'reused') {
    await revokeSession(deps, session.tenantId, session.id)
    await deps.sessions.end(userId, session.id)
    throw new AppError(
      'refresh_token_reused',
      'This refresh token was used before, so somebody may have copied it. The session has ended; sign in again.',
    )
  }
  return tokenAnswer(deps.tokens, account, session.id, rotation.refreshToken)
}

const refreshTokenInvalid = (): AppError =>
  new AppError('refresh_token_invalid', 'The session has ended. Sign in again.')

/** The actor's sessions that can still be refreshed, the last used first, as JSON text. */
export async function listSessions(deps: Deps, actor: Actor): Promise<string> {
  const sessions = await deps.sessions.list(actor.userId)
  const account = await findAccount(deps.db, actor.tenantId, actor.userId)
  const data = sessions
    .filter((session) => account !== null && goesOn(session, account))
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

/** Ends one of the actor's own sessions, the present one too. Answers whether there was one. */
export async function endSession(deps: Deps, actor: Actor, sessionId: string): Promise<boolean> {
  const own = sessionId === actor.sessionId
  if (!own && !(await deps.sessions.list(actor.userId)).some((session) => session.id === sessionId))
    return false
  // The database first: from here on the session is dead even if the store cannot be told.
  await revokeSession(deps, actor.tenantId, sessionId)
  await tidyUp(deps.log, 'ending a session', deps.sessions.end(actor.userId, sessionId))
  return true
}

async function revokeSession(deps: Deps, tenantId: string, sessionId: string): Promise<void> {
  const revocation = { tenantId, subject: sessionId, minimumEpoch: 1 }
  await deps.db.write({ tenantId }, revocationStatement(revocation))
  deps.revocations.learn(revocation)
}
