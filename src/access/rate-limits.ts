/**
 * The limits of CONTRACT section 9 by what they protect: each throws AppError rate_limited (429) when used up. Every
 * answer, not only a refusal, says how the limits stand that its request was counted against: as the IETF draft
 * "RateLimit header fields for HTTP" (-11) has it, and in the three fields of its early versions, which many read.
 */
import type { RateLimit } from '../config/config.ts'
import { AppError } from '../errors.ts'
import type { RateLimiter, RateLimitOutcome } from '../store/rate-limiter.ts'
import { networkOf } from './client-address.ts'

/** A request as limits see it; what http/request-info.ts knows of one will do. */
export interface LimitedRequest {
  readonly address: string
  /** Names in lower case. */
  readonly answerHeaders: Record<string, string | number>
}

export interface RateLimits {
  /** Sign-in, codes and resets: counts the client's address and, apart from it, the account, if there is one. */
  ofAuth(request: LimitedRequest, account?: string): Promise<void>
  ofInvitations(request: LimitedRequest, userId: string): Promise<void>
  ofUser(request: LimitedRequest, userId: string): Promise<void>
  /** Refusals since the start, by policy. */
  refusals(): ReadonlyMap<string, number>
}

export interface RateLimitSettings {
  rateLimitAuth: RateLimit
  rateLimitInvite: RateLimit
  rateLimitApi: RateLimit
}

interface Policy {
  /** On the wire and in the bucket's key. */
  name: string
  limit: RateLimit
  /** There were too many of them. */
  what: string
}

export function createRateLimits(limiter: RateLimiter, settings: RateLimitSettings): RateLimits {
  const { rateLimitAuth, rateLimitInvite, rateLimitApi } = settings
  const address = { name: 'auth-address', limit: rateLimitAuth, what: 'attempts from your address' }
  const account = { name: 'auth-account', limit: rateLimitAuth, what: 'attempts for this account' }
  const invitations = { name: 'invitations', limit: rateLimitInvite, what: 'invitations' }
  const user = { name: 'user', limit: rateLimitApi, what: 'requests' }

  const refusals = new Map([address, account, invitations, user].map(({ name }) => [name, 0]))

  const count = async ({ answerHeaders }: LimitedRequest, { name, limit, what }: Policy, key: string) => {
    if (limit === null) return
    const outcome = await limiter.hit(`${name}:${key}`, limit)
    tell(answerHeaders, `"${name}"`, limit, outcome)
    if (outcome.allowed) return
    refusals.set(name, (refusals.get(name) ?? 0) + 1)
    // Not the refusing limit's own: another one may be used up for longer, and would refuse the next try.
    const retryAfterSeconds = Number(answerHeaders['ratelimit-reset'])
    throw new AppError('rate_limited', `Too many ${what}. Try again in ${retryAfterSeconds} seconds.`, {
      retryAfterSeconds,
    })
  }

  return {
    async ofAuth(request, email) {
      await count(request, address, networkOf(request.address))
      if (email !== undefined) await count(request, account, email)
    },
    ofInvitations: (request, userId) => count(request, invitations, userId),
    ofUser: (request, userId) => count(request, user, userId),
    refusals: () => refusals,
  }
}

function tell(
  headers: LimitedRequest['answerHeaders'],
  name: string,
  { count, windowSeconds }: NonNullable<RateLimit>,
  { remaining, resetSeconds }: RateLimitOutcome,
): void {
  append(headers, 'ratelimit-policy', `${name};q=${count};w=${windowSeconds}`)
  append(headers, 'ratelimit', `${name};r=${remaining};t=${resetSeconds}`)
  // The early fields have room for one limit: the one that will refuse first, or for longest.
  const told = Number(headers['ratelimit-remaining'] ?? Number.POSITIVE_INFINITY)
  if (told < remaining || (told === remaining && Number(headers['ratelimit-reset']) >= resetSeconds)) return
  headers['ratelimit-limit'] = count
  headers['ratelimit-remaining'] = remaining
  headers['ratelimit-reset'] = resetSeconds
}

function append(headers: LimitedRequest['answerHeaders'], name: string, member: string): void {
  const list = headers[name]
  headers[name] = list === undefined ? member : `${list}, ${member}`
}
