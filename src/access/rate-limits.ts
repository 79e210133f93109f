/**
 * The rate limits, by what they protect: each but that of mails throws AppError rate_limited (429) when it is used up.
 * Every answer, not only a refusal, reports the limits its request was counted against: in the fields of the IETF draft
 * "RateLimit header fields for HTTP" (-11), and in the three fields of its early versions, which many clients read.
 */
import type { RateLimit } from '../config/config.ts'
import { AppError } from '../errors.ts'
import type { Limit, LocalRateLimiter, RateLimiter, RateLimitOutcome } from '../store/rate-limiter.ts'
import { networksOf } from './client-address.ts'
import type { KnownNetworks } from './known-networks.ts'

/** What the limits need of a request; http/request-info.ts provides it. */
export interface LimitedRequest {
  readonly address: string
  /** Names in lower case. */
  readonly answerHeaders: Record<string, string | number>
}

export interface RateLimits {
  /**
   * Sign-in, codes and resets: counts the client's address and, separately, the account, if one is named. Where that is
   * used up, a network that the account was signed in from lately has a limit of its own.
   */
  ofAuth(request: LimitedRequest, account?: string): Promise<void>
  /** The current password, asked of somebody signed in: counts the session alone, which no stranger can use up. */
  ofSession(request: LimitedRequest, sessionId: string): Promise<void>
  /** What needs no account and reaches no other limit: counts the client's address, in this process. */
  ofOpen(request: LimitedRequest): void
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
  rateLimitOpen: RateLimit
  rateLimitMail: RateLimit
  rateLimitTenantMail: RateLimit
}

/** Beside RATE_LIMIT_MAIL. */
const hourlyMails = { count: 5, windowSeconds: 3600 }

/** In the order of `networksOf`: a wider network gets so many times the limit of one client. */
const networkLimits = [
  { suffix: '', share: 1 },
  { suffix: '-56', share: 4 },
  { suffix: '-48', share: 16 },
]
/** As many calls a day are counted without rounding. */
const highestCount = 10_000_000

interface Policy {
  /** On the wire and in the bucket's key. */
  name: string
  limit: RateLimit
  /** What there were too many of, for the message. */
  what: string
}

export interface RateLimitDeps {
  limiter: RateLimiter
  openLimiter: LocalRateLimiter
  knownNetworks: Pick<KnownNetworks, 'includes'>
}

export function createRateLimits(
  { limiter, openLimiter, knownNetworks }: RateLimitDeps,
  settings: RateLimitSettings,
): RateLimits {
  const { rateLimitAuth, rateLimitInvite, rateLimitApi, rateLimitMail, rateLimitTenantMail } = settings
  const { rateLimitOpen } = settings
  const address = { name: 'auth-address', limit: rateLimitAuth, what: 'attempts from your address' }
  const account = { name: 'auth-account', limit: rateLimitAuth, what: 'attempts for this account' }
  const knownAccount = { ...account, name: 'auth-account-known' }
  const session = { name: 'auth-session', limit: rateLimitAuth, what: 'attempts' }
  const open = { name: 'open', limit: rateLimitOpen, what: 'requests from your address' }
  const invitations = { name: 'invitations', limit: rateLimitInvite, what: 'invitations' }
  const user = { name: 'user', limit: rateLimitApi, what: 'requests' }
  const tenantMails = { name: 'tenant-mails', limit: rateLimitTenantMail, what: 'mails to new addresses' }

  const addresses = ofNetworks(address)
  const opens = ofNetworks(open)
  const accounts = [account, knownAccount, session]
  const { refusals, countRefusal, enforce } = createEnforcement([
    ...[...addresses, ...accounts, ...opens, invitations, user, tenantMails].map(({ name }) => name),
    'mails',
  ])
  const count = async (request: LimitedRequest, policy: Policy, key: string): Promise<void> => {
    const { name, limit } = policy
    if (limit !== null) enforce(request, policy, limit, await limiter.hit(`${name}:${key}`, limit))
  }

  return {
    async ofAuth(request, email) {
      // One after the other: what a narrow network is refused must not use up its neighbours' share of the wide one.
      for (const { policy, network } of paired(addresses, request.address))
        await count(request, policy, network)
      if (email === undefined || account.limit === null) return
      const outcome = await limiter.hit(`${account.name}:${email}`, account.limit)
      // Asked only now, so that an attempt costs no round trip more.
      if (!outcome.allowed && (await isKnown(knownNetworks, email, request.address)))
        return await count(request, knownAccount, email)
      enforce(request, account, account.limit, outcome)
    },
    ofSession: (request, sessionId) => count(request, session, sessionId),
    ofOpen(request) {
      if (rateLimitOpen === null) return
      for (const { policy, network } of paired(opens, request.address))
        if (policy.limit !== null)
          enforce(request, policy, policy.limit, openLimiter.hit(`${policy.name}:${network}`, policy.limit))
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

/** Of a policy for client addresses, those for their networks. */
const ofNetworks = (policy: Policy): Policy[] =>
  networkLimits.map(({ suffix, share }) => ({
    ...policy,
    name: policy.name + suffix,
    limit: policy.limit && { ...policy.limit, count: Math.min(policy.limit.count * share, highestCount) },
  }))

/** Each network of the address with its policy, the narrowest first. */
const paired = (policies: readonly Policy[], address: string): { policy: Policy; network: string }[] =>
  networksOf(address).flatMap((network, index) => {
    const policy = policies[index]
    return policy ? [{ policy, network }] : []
  })

/** A store that fails makes nobody known: a limit must not cause an outage. */
const isKnown = (
  networks: RateLimitDeps['knownNetworks'],
  email: string,
  address: string,
): Promise<boolean> =>
  networks.includes(email, address).catch((error: unknown) => {
    if (error instanceof AppError) return false
    throw error
  })

function createEnforcement(policies: string[]) {
  const refusals = new Map(policies.map((name) => [name, 0]))
  const countRefusal = (name: string): void => void refusals.set(name, (refusals.get(name) ?? 0) + 1)
  return {
    refusals,
    countRefusal,
    /** Reports the outcome. @throws AppError rate_limited */
    enforce(
      { answerHeaders }: LimitedRequest,
      { name, what }: Policy,
      limit: Limit,
      outcome: RateLimitOutcome,
    ): void {
      report(answerHeaders, `"${name}"`, limit, outcome)
      if (outcome.allowed) return
      countRefusal(name)
      // Not the refusing limit's own: another may be used up for longer and would refuse the next try.
      const retryAfterSeconds = Number(answerHeaders['ratelimit-reset'])
      throw new AppError('rate_limited', `Too many ${what}. Try again in ${retryAfterSeconds} seconds.`, {
        retryAfterSeconds,
      })
    },
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
