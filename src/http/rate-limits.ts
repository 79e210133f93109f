/** The limits of CONTRACT section 9 by what they protect: each throws AppError rate_limited (429) when used up. */
import type { RateLimit } from '../config.ts'
import { AppError } from '../errors.ts'
import type { RateLimiter } from '../lib/rate-limiter.ts'

export interface RateLimits {
  /** Sign-in, codes and resets: counts the client's address and, apart from it, the account, if there is one. */
  ofAuth(address: string, account?: string): Promise<void>
  ofInvitations(userId: string): Promise<void>
  ofUser(userId: string): Promise<void>
}

export interface RateLimitSettings {
  rateLimitAuth: RateLimit
  rateLimitInvite: RateLimit
  rateLimitApi: RateLimit
}

export function createRateLimits(limiter: RateLimiter, settings: RateLimitSettings): RateLimits {
  const count = async (key: string, limit: RateLimit, what: string): Promise<void> => {
    if (limit === null) return
    const { allowed, remaining, resetSeconds } = await limiter.hit(key, limit)
    if (allowed) return
    throw new AppError('rate_limited', `Too many ${what}. Try again in ${Math.ceil(resetSeconds)} seconds.`, {
      retryAfterSeconds: resetSeconds,
      headers: {
        'ratelimit-limit': String(limit.count),
        'ratelimit-remaining': String(remaining),
        'ratelimit-reset': String(Math.ceil(resetSeconds)),
      },
    })
  }
  return {
    async ofAuth(address, account) {
      await count(`auth:address:${address}`, settings.rateLimitAuth, 'attempts from your address')
      if (account !== undefined)
        await count(`auth:account:${account}`, settings.rateLimitAuth, 'attempts for this account')
    },
    ofInvitations: (userId) => count(`invite:${userId}`, settings.rateLimitInvite, 'invitations'),
    ofUser: (userId) => count(`api:${userId}`, settings.rateLimitApi, 'requests'),
  }
}
