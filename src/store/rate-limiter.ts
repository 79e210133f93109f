/**
 * Token buckets, by the generic cell rate algorithm (ITU-T I.371): a bucket holds `count` tokens and refills evenly
 * within one window; each call takes one, or more by its weight. A fresh key may burst its whole limit, an exhausted one gets a call back every
 * window/count, and there is no edge of a window to wait for or to exploit. Refused calls take nothing.
 *
 * A bucket stores the tokens in use, as an integer: a token is as many units as the window has milliseconds, and `count`
 * units are refilled per millisecond. So nothing is rounded, up to 10,000,000 calls a day (2^50 units).
 */
import { createHash } from 'node:crypto'
import { AppError } from '../errors.ts'
import type { Logger } from '../log.ts'

export interface Limit {
  count: number
  windowSeconds: number
}

export interface RateLimitOutcome {
  allowed: boolean
  limit: number
  /** Calls that would be allowed now. */
  remaining: number
  /** Seconds, rounded up, until `remaining` grows by one; after a refusal, until the same call is allowed. */
  resetSeconds: number
}

export interface RateLimiter {
  /**
   * Falls back to counting in this process when the shared buckets are unavailable: a limit must not cause an outage.
   * @param weight the tokens that the call takes; of more than a bucket holds, all
   */
  hit(key: string, limit: Limit, weight?: number): Promise<RateLimitOutcome>
}

/** Counts in this process alone, without waiting for anything. */
export interface LocalRateLimiter {
  hit(key: string, limit: Limit): RateLimitOutcome
}

/** Of an attempt to take tokens. */
export interface Take {
  allowed: boolean
  /** The bucket's tokens in use afterwards, in units. */
  used: number
}

/** Buckets shared between instances. */
export interface SharedBuckets {
  /** Takes all the tokens or none. @throws AppError when the backend is unavailable */
  take(key: string, limit: Limit, tokens?: number): Promise<Take>
}

export interface RateLimiterOptions {
  /** Null: this process counts for itself. */
  shared: SharedBuckets | null
  log: Logger
  /** Milliseconds on a monotonic clock. */
  now?: () => number
  /** Bounds the keys kept by this process; the least recently used are evicted. */
  maxLocalKeys?: number
}

type LocalOptions = Pick<RateLimiterOptions, 'now' | 'maxLocalKeys'>

export function createLocalRateLimiter({
  now = () => performance.now(),
  maxLocalKeys = 100_000,
}: LocalOptions = {}): LocalRateLimiter {
  const buckets = createLocalBuckets(now, maxLocalKeys)
  return {
    hit(key, limit) {
      return outcome(buckets.take(bucketName(key, limit), limit), limit)
    },
  }
}

/** How long this process counts for itself before one call tries the shared buckets again. */
const retrySharedAfterMs = 1000

export function createRateLimiter({
  shared,
  log,
  now = () => performance.now(),
  maxLocalKeys = 100_000,
}: RateLimiterOptions): RateLimiter {
  const local = createLocalBuckets(now, maxLocalKeys)
  let isUnavailable = false
  let retryAt = 0

  const takeShared = async (
    buckets: SharedBuckets,
    ...[key, limit, tokens]: Parameters<SharedBuckets['take']>
  ): Promise<Take | null> => {
    if (isUnavailable && now() < retryAt) return null
    // One call at a time finds out; the others do not wait for it.
    if (isUnavailable) retryAt = now() + retrySharedAfterMs
    try {
      const taken = await buckets.take(key, limit, tokens)
      if (isUnavailable) log.info('rate limits are shared between instances again')
      isUnavailable = false
      return taken
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      if (!isUnavailable)
        log.warn('rate limits are counted per instance until Redis is available again', { error })
      isUnavailable = true
      retryAt = now() + retrySharedAfterMs
      return null
    }
  }

  return {
    async hit(key, limit, weight = 1) {
      const bucket = bucketName(key, limit)
      const tokens = Math.min(weight, limit.count)
      const taken =
        (shared && (await takeShared(shared, bucket, limit, tokens))) ?? local.take(bucket, limit, tokens)
      return outcome(taken, limit, tokens)
    },
  }
}

/** The limit is part of the name, so a changed setting starts afresh. Keys may hold client input of any length. */
const bucketName = (key: string, limit: Limit): string =>
  `${limit.count}/${limit.windowSeconds}:${key.length > 200 ? createHash('sha256').update(key).digest('hex') : key}`

const unitsPerToken = (limit: Limit): number => limit.windowSeconds * 1000

function outcome({ allowed, used }: Take, limit: Limit, tokens = 1): RateLimitOutcome {
  const token = unitsPerToken(limit)
  const free = limit.count * token - used
  const remaining = Math.floor(free / token)
  const unitsToRefill = (allowed ? remaining + 1 : tokens) * token - free
  return {
    allowed,
    limit: limit.count,
    remaining,
    resetSeconds: Math.ceil(unitsToRefill / limit.count / 1000),
  }
}

function createLocalBuckets(now: () => number, maxKeys: number) {
  const buckets = new Map<string, { used: number; at: number }>()
  return {
    take(key: string, limit: Limit, tokens = 1): Take {
      const token = unitsPerToken(limit)
      const at = Math.floor(now())
      const before = buckets.get(key)
      const refilled = before === undefined ? 0 : Math.min(at - before.at, token) * limit.count
      const inUse = before === undefined ? 0 : Math.max(0, before.used - refilled)
      const wanted = tokens * token
      const allowed = inUse + wanted <= limit.count * token
      const used = allowed ? inUse + wanted : inUse
      // Deleted first, so that the map stays ordered by last use.
      buckets.delete(key)
      buckets.set(key, { used, at })
      if (buckets.size > maxKeys) evictOldest()
      return { allowed, used }
    },
  }

  function evictOldest(): void {
    const { value: oldest } = buckets.keys().next()
    if (oldest !== undefined) buckets.delete(oldest)
  }
}
