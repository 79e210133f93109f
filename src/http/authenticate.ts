/**
 * Authenticates the caller. A route names its audience; nothing of a request but its token is read before the check,
 * which takes the token and this instance's revocations and no round trip.
 */
import { Elysia } from 'elysia'
import type { AccessTokens } from '../access/access-tokens.ts'
import type { Caller, Role } from '../access/actor.ts'
import type { RateLimits } from '../access/rate-limits.ts'
import { nameCaller } from '../db/shares.ts'
import { AppError } from '../errors.ts'
import { requestInfo } from './request-info.ts'

/** Who may call a route. `customer`: anyone of a customer's tenant. `admin`: of a tenant or of the platform. */
export type Audience = 'anyone' | 'customer' | 'admin' | 'tenant_admin' | 'super_admin'

const admitted: Record<Audience, readonly Role[]> = {
  anyone: ['super_admin', 'tenant_admin', 'member'],
  customer: ['tenant_admin', 'member'],
  admin: ['tenant_admin', 'super_admin'],
  tenant_admin: ['tenant_admin'],
  super_admin: ['super_admin'],
}

const refusals: Record<Audience, string> = {
  anyone: '',
  customer: 'A super admin manages tenants and never sees the contents of lists.',
  admin: 'Only admins may see this.',
  tenant_admin: 'Only an admin of the tenant may do this.',
  super_admin: 'Only a super admin may do this.',
}

export interface ActorDeps {
  tokens: AccessTokens
  limits: RateLimits
}

/** Gives the routes that follow it in the same group their `actor`. Every call counts against the user's limit. */
export const signedIn = ({ tokens, limits }: ActorDeps, audience: Audience) =>
  new Elysia().derive({ as: 'scoped' }, async ({ request }) => {
    const { actor } = await tokens.read(bearer(request))
    const info = requestInfo(request)
    info.actor = actor
    nameCaller(actor.userId)
    await limits.ofUser(info, actor.userId)
    if (!admitted[audience].includes(actor.role)) throw new AppError('forbidden', refusals[audience])
    const caller: Caller = { ...actor, address: info.address, requestId: info.id }
    return { actor: caller }
  })

function bearer(request: Request): string {
  const header = request.headers.get('authorization')
  if (header === null)
    throw new AppError('token_missing', 'Sign in and send the access token: Authorization: Bearer …')
  const [, token] = /^Bearer +([\w-]+\.[\w-]+\.[\w-]+) *$/i.exec(header) ?? []
  if (!token) throw new AppError('token_invalid', 'The Authorization header holds no bearer token.')
  return token
}
