/**
 * The rate limits, by what they protect: each but that of mails throws AppError rate_limited (429) when it is used up.
 * Every answer, not only a refusal, reports the limits its request was counted against: in the fields of the IETF draft
 * "RateLimit header fields for HTTP" (-11), and in the three fields of its early versions, which many clients read.
 */
import type { RateLimit } from '../config/config.ts'
import { AppError } from '../errors.ts'
import type { Limit, RateLimiter, RateLimitOutcome } from '../store/rate-limiter.ts'
import { networkOf } from './client-address.ts'

/** What the limits need of a request; http/request-info.ts provides it. */
export interface LimitedRequest {
  readonly address: string
  /** Names in lower case. */
  readonly answerHeaders: Record<string, string | number>
}

export interface RateLimits {
  /** Sign-in, codes and resets: counts the client's address and, separately, the account, if one is named. */
  ofAuth(request: LimitedRequest, account?: string): Promise<void>
  ofInvitations(request: LimitedRequest, userId: string): Promise<void>
  ofUser(request: LimitedRequest, userId: string): Promise<void>
  /**
   * What a user asks for over a socket, from the same bucket as their requests.
   * @param calls how many it counts as
   * @returns seconds to wait where it is refused, else null
   */
  ofSocket(userId: string, calls: number): Promise<number | null>
  /** Mails to addresses that are not verified, per tenant whose member causes them. */
  ofTenantMails(request: LimitedRequest, tenantId: string): Promise<void>
  /**
   * Whether one more mail may go to this address, of any kind; if so, it is counted. Never reported: it would reveal
   * who gets mails.
   * @param address null: takes as long and counts nobody's
   */
  mayMail(address: string | null): Promise<boolean>
  /** Refusals since the start, by policy. */
  refusals(): ReadonlyMap<string, number>
}

export interface RateLimitSettings {
  rateLimitAuth: RateLimit
  rateLimitInvite: RateLimit
  rateLimitApi: RateLimit
  rateLimitMail: RateLimit
  rateLimitTenantMail: RateLimit
}

/** Beside RATE_LIMIT_MAIL. */
const hourlyMails = { count: 5, windowSeconds: 3600 }

interface Policy {
  /** On the wire and in the bucket's key. */
  name: string
  limit: RateLimit
  /** What there were too many of, for the message. */
  what: string
}

export function createRateLimits(limiter: RateLimiter, settings: RateLimitSettings): RateLimits {
  const { rateLimitAuth, rateLimitInvite, rateLimitApi, rateLimitMail, rateLimitTenantMail } = settings
  const address = { name: 'auth-address', limit: rateLimitAuth, what: 'attempts from your address' }
  const account = { name: 'auth-account', limit: rateLimitAuth, what: 'attempts for this account' }
  const invitations = { name: 'invitations', limit: rateLimitInvite, what: 'invitations' }
  const user = { name: 'user', limit: rateLimitApi, what: 'requests' }
  const tenantMails = { name: 'tenant-mails', limit: rateLimitTenantMail, what: 'mails to new addresses' }

  const counted = [address, account, invitations, user, tenantMails, { name: 'mails' }]
  const refusals = new Map(counted.map(({ name }) => [name, 0]))
  const countRefusal = (name: string): void => void refusals.set(name, (refusals.get(name) ?? 0) + 1)

  const count = async ({ answerHeaders }: LimitedRequest, { name, limit, what }: Policy, key: string) => {
    if (limit === null) return
    const outcome = await limiter.hit(`${name}:${key}`, limit)
    report(answerHeaders, `"${name}"`, limit, outcome)
    if (outcome.allowed) return
    countRefusal(name)
    // Not the refusing limit's own: another may be used up for longer and would refuse the next try.
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
    async ofSocket(userId, calls) {
      if (user.limit === null) return null
      const { allowed, resetSeconds } = await limiter.hit(`${user.name}:${userId}`, user.limit, calls)
      if (allowed) return null
      countRefusal(user.name)
      return resetSeconds
    },
    ofTenantMails: (request, tenantId) => count(request, tenantMails, tenantId),
    async mayMail(mailed) {
      if (rateLimitMail === null) return true
      const hit = (name: string, limit: Limit, key: string | null) =>
        limiter.hit(`${name}:${key ?? 'nobody'}`, limit)
      const hourly = await hit('mails-hourly', hourlyMails, mailed)
      // What the hour does not allow is not counted further; the question is asked all the same.
      const further = await hit('mails', rateLimitMail, hourly.allowed ? mailed : null)
      const isAllowed = hourly.allowed && further.allowed
      if (!isAllowed && mailed !== null) countRefusal('mails')
      return isAllowed
    },
    refusals: () => refusals,
  }
}

function report(
  headers: LimitedRequest['answerHeaders'],
  name: string,
  { count, windowSeconds }: NonNullable<RateLimit>,
  { remaining, resetSeconds }: RateLimitOutcome,
): void {
  append(headers, 'ratelimit-policy', `${name};q=${count};w=${windowSeconds}`)
  append(headers, 'ratelimit', `${name};r=${remaining};t=${resetSeconds}`)
  // The early fields hold one limit: the one that will refuse first, or for longest.
  const reported = Number(headers['ratelimit-remaining'] ?? Number.POSITIVE_INFINITY)
  if (reported < remaining || (reported === remaining && Number(headers['ratelimit-reset']) >= resetSeconds))
    return
  headers['ratelimit-limit'] = count
  headers['ratelimit-remaining'] = remaining
  headers['ratelimit-reset'] = resetSeconds
}

function append(headers: LimitedRequest['answerHeaders'], name: string, member: string): void {
  const list = headers[name]
  headers[name] = list === undefined ? member : `${list}, ${member}`
}
