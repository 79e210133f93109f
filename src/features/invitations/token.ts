/**
 * An invitation is a signed token without a row. All that is kept of it, for as long as it lives, is that it was
 * redeemed.
 */
import type { Claims, JwtSigner } from '../../access/jwt.ts'
import { AppError } from '../../errors.ts'
import { isUuid, newId } from '../../lib/ids.ts'

export type InvitedRole = 'editor' | 'viewer'

export interface Invitation {
  id: string
  tenantId: string
  listId: string
  email: string
  role: InvitedRole
  inviterId: string
  /** Seconds since 1970. */
  expiresAt: number
}

const audience = 'minimart-invitation'

export async function signInvitation(
  jwt: JwtSigner,
  { tenantId, listId, email, role, inviterId }: Omit<Invitation, 'id' | 'expiresAt'>,
  ttlSeconds: number,
): Promise<string> {
  const claims = {
    typ: 'invitation',
    jti: newId(),
    tid: tenantId,
    lid: listId,
    sub: email,
    role,
    inviter: inviterId,
  }
  return jwt.sign(claims, audience, ttlSeconds)
}

/** @throws AppError invitation_invalid (400), invitation_expired (410) */
export async function readInvitation(
  jwt: JwtSigner,
  token: string,
  { evenExpired = false } = {},
): Promise<Invitation> {
  const claims = await jwt.verify(token, audience)
  const invitation = claims && fromClaims(claims)
  if (!invitation) throw new AppError('invitation_invalid', 'This is no valid invitation.')
  if (!evenExpired && invitation.expiresAt <= Date.now() / 1000)
    throw new AppError('invitation_expired', 'This invitation has expired. Ask for a new one.')
  return invitation
}

const isId = (value: unknown): value is string => typeof value === 'string' && isUuid(value)

function fromClaims({ typ, jti, tid, lid, sub, role, inviter, exp }: Claims): Invitation | null {
  if (typ !== 'invitation' || !isId(jti) || !isId(tid) || !isId(lid) || !isId(inviter)) return null
  if (typeof sub !== 'string' || (role !== 'editor' && role !== 'viewer')) return null
  return { id: jti, tenantId: tid, listId: lid, email: sub, role, inviterId: inviter, expiresAt: exp }
}
