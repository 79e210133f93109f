/**
 * Access tokens: short-lived JWTs with the user, tenant and role, and the epochs of user and tenant at the time of
 * issue. A token is good while its signature is valid, it has not expired, and no revocation of its session, user or
 * tenant has a later epoch.
 */
import { platformTenantId } from '../db/schema.ts'
import { AppError } from '../errors.ts'
import { isUuid, newId } from '../lib/ids.ts'
import type { Actor, Role } from './actor.ts'
import type { Claims, JwtSigner } from './jwt.ts'
import type { Revocations } from './revocations.ts'

export interface TokenSubject {
  userId: string
  tenantId: string
  role: Role
  tokenEpoch: number
  tenantEpoch: number
}

export interface VerifiedToken {
  actor: Actor
  /** Seconds since 1970. */
  expiresAt: number
}

export interface AccessTokens {
  readonly ttlSeconds: number
  issue(subject: TokenSubject, sessionId: string): Promise<string>
  /** @throws AppError token_invalid, token_expired or token_revoked (401) */
  read(token: string): Promise<VerifiedToken>
}

const audience = 'minimart-api'

export function createAccessTokens(
  jwt: JwtSigner,
  revocations: Revocations,
  ttlSeconds: number,
): AccessTokens {
  return {
    ttlSeconds,
    issue: ({ userId, tenantId, role, tokenEpoch, tenantEpoch }, sessionId) =>
      jwt.sign(
        {
          sub: userId,
          tid: tenantId === platformTenantId ? null : tenantId,
          role,
          sid: sessionId,
          jti: newId(),
          typ: 'access',
          uep: tokenEpoch,
          tep: tenantEpoch,
        },
        audience,
        ttlSeconds,
      ),
    async read(token) {
      const claims = await jwt.verify(token, audience)
      const read = claims && readClaims(claims)
      if (!read) throw new AppError('token_invalid', 'The access token is not valid here. Sign in again.')
      // Revocations are kept for today's lifetime: a token issued under a longer one must not outlive its revocation.
      const expiresAt = Math.min(claims.exp, claims.iat + ttlSeconds)
      if (expiresAt <= Date.now() / 1000)
        throw new AppError('token_expired', 'The access token has expired. Refresh it.')
      const { actor, userEpoch, tenantEpoch } = read
      const { userId, tenantId, sessionId } = actor
      if (
        revocations.covers(tenantId, sessionId, 0, sessionId) ||
        revocations.covers(tenantId, userId, userEpoch, sessionId) ||
        revocations.covers(tenantId, tenantId, tenantEpoch, sessionId)
      )
        throw new AppError('token_revoked', 'The access token has been revoked. Refresh it or sign in again.')
      return { actor, expiresAt }
    },
  }
}

const isRole = (value: unknown): value is Role =>
  value === 'super_admin' || value === 'tenant_admin' || value === 'member'

/** Lower case, as issued: in capitals an id would name the same row and escape its revocation. */
const isId = (value: unknown): value is string => typeof value === 'string' && isUuid(value)

function readClaims(claims: Claims): { actor: Actor; userEpoch: number; tenantEpoch: number } | null {
  const { sub, tid, role, sid, jti, typ, uep, tep } = claims
  const tenantId = tid === null ? platformTenantId : tid
  return typ === 'access' &&
    (tid === null) === (role === 'super_admin') &&
    isId(jti) &&
    isId(sub) &&
    isId(tenantId) &&
    isId(sid) &&
    isRole(role) &&
    isCount(uep) &&
    isCount(tep)
    ? { actor: { userId: sub, tenantId, role, sessionId: sid }, userEpoch: uep, tenantEpoch: tep }
    : null
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value)
