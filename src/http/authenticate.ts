/**
 * Authenticates the caller. A route names its audience; nothing of a request but its token is read before the check,
 * which takes the token and this instance's revocations and no round trip.
 */
import { Elysia } from 'elysia'
import type { AccessTokens } from '../access/access-tokens.ts'
import type { Caller, KeyedCall, Role } from '../access/actor.ts'
import type { RateLimits } from '../access/rate-limits.ts'
import { nameCaller } from '../db/shares.ts'
import { AppError, invalidField } from '../errors.ts'
import { isUuid7 } from '../lib/ids.ts'
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

/**
 * Gives the routes that follow it in the same group their `actor`. Every call counts against the user's limit.
 * @param takesKeys whether they take an `Idempotency-Key`
 */
export const signedIn = ({ tokens, limits }: ActorDeps, audience: Audience, takesKeys = false) =>
  new Elysia().derive({ as: 'scoped' }, async ({ request, body }) => {
    const { actor } = await tokens.read(bearer(request))
    const info = requestInfo(request)
    info.actor = actor
    nameCaller(actor.userId)
    await limits.ofUser(info, actor.userId)
    if (!admitted[audience].includes(actor.role)) throw new AppError('forbidden', refusals[audience])
    refuseRepeatedParameters(request.url)
    const keyed = takesKeys && request.method !== 'GET' ? keyedCall(request, body) : null
    const caller: Caller = { ...actor, address: info.address, requestId: info.id, keyed }
    return { actor: caller }
  })

/** Whatever stood between may have acted on the other value. @throws AppError invalid */
function refuseRepeatedParameters(url: string): void {
  const start = url.indexOf('?')
  if (start < 0) return
  const seen = new Set<string>()
  for (const name of new URLSearchParams(url.slice(start)).keys()) {
    if (seen.has(name)) throw invalidField(name, 'must not be given more than once')
    seen.add(name)
  }
}

const keyHeader = 'Idempotency-Key'

/** draft-ietf-httpapi-idempotency-key-header; the quotes may be left out. @throws AppError invalid */
function keyedCall(request: Request, body: unknown): KeyedCall | null {
  const header = request.headers.get(keyHeader)
  if (header === null) return null
  const key = header.replace(/^"(.*)"$/, '$1').toLowerCase()
  if (!isUuid7(key)) throw invalidField(keyHeader, 'must be a UUIDv7')
  const bodyHash = new Bun.CryptoHasher('sha256').update(JSON.stringify(body ?? null)).digest('hex')
  return { key, method: request.method, path: new URL(request.url).pathname.toLowerCase(), bodyHash }
}

function bearer(request: Request): string {
  const header = request.headers.get('authorization')
  if (header === null)
    throw new AppError('token_missing', 'Sign in and send the access token: Authorization: Bearer …')
  const [, token] = /^Bearer +([\w-]+\.[\w-]+\.[\w-]+) *$/i.exec(header) ?? []
  if (!token) throw new AppError('token_invalid', 'The Authorization header holds no bearer token.')
  return token
}
