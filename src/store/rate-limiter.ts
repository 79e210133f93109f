/**
 * Rate limits by the generic cell rate algorithm (ITU-T I.371), in its form as a leaky bucket: each call pours one
 * measure into the key's bucket, which leaks evenly and empties within one window. A fresh key thus has its whole
 * limit at once; a used-up one gets one call back every window/count, and there is no edge of a window to wait for
 * or to exploit. Refused calls count nothing.
 *
 * Levels are whole numbers: one call is as many units as the window has milliseconds, and `count` units leak per
 * millisecond. So nothing is rounded, up to 10,000,000 calls a day (2^50 units).
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
  /** Calls that would still be let through now. */
  remaining: number
  /** Whole seconds until one call more would be let through than now; after a refusal, the next one. */
  resetSeconds: number
}

export interface RateLimiter {
  /** Never throws for want of a backend: a limit must not take the service down. */
  hit(key: string, limit: Limit): Promise<RateLimitOutcome>
}

/** What pouring one measure led to; `level` is the bucket's afterwards. */
export interface Pour {
  allowed: boolean
  level: number
}

/** Buckets that several instances share. Throws AppError when they are out of reach. */
export interface SharedBuckets {
  pour(key: string, limit: Limit): Promise<Pour>
}

export interface RateLimiterOptions {
  /** Null: this process counts for itself. */
  shared: SharedBuckets | null
  log: Logger
  /** Milliseconds of a clock that never goes back. */
  now?: () => number
  /** Keys remembered by this process; the ones longest unused go first. */
  maxLocalKeys?: number
}

/** How long local counting goes on before one call tries the shared buckets again. */
const sharedPauseMs = 1000

export function createRateLimiter({
  shared,
  log,
  now = () => performance.now(),
  maxLocalKeys = 100_000,
}: RateLimiterOptions): RateLimiter {
  const local = createLocalBuckets(now, maxLocalKeys)
  let away = false
  let tryAgainAt = 0

  const pourShared = async (buckets: SharedBuckets, key: string, limit: Limit): Promise<Pour | null> => {
    if (away && now() < tryAgainAt) return null
    // One call at a time finds out; the others need not wait for its answer.
    if (away) tryAgainAt = now() + sharedPauseMs
    try {
      const poured = await buckets.pour(key, limit)
      if (away) log.info('rate limits are shared by all instances again')
      away = false
      return poured
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      if (!away) log.warn('rate limits are counted by this instance alone until Redis is back', { error })
      away = true
      tryAgainAt = now() + sharedPauseMs
      return null
    }
  }

  return {
    async hit(key, limit) {
      const bucket = bucketName(key, limit)
      const poured = (shared && (await pourShared(shared, bucket, limit))) ?? local.pour(bucket, limit)
      return outcome(poured, limit)
    },
  }
}

/** With the limit in the name a changed setting starts afresh. Keys can hold what clients send, of any length. */
const bucketName = (key: string, limit: Limit): string =>
  `${limit.count}/${limit.windowSeconds}:${key.length > 200 ? createHash('sha256').update(key).digest('hex') : key}`

const unitsOfOne = (limit: Limit): number => limit.windowSeconds * 1000

function outcome({ allowed, level }: Pour, limit: Limit): RateLimitOutcome {
  const one = unitsOfOne(limit)
  const free = limit.count * one - level
  const remaining = Math.floor(free / one)
  const unitsToLeak = (remaining + 1) * one - free
  return { allowed, limit: limit.count, remaining, resetSeconds: Math.ceil(unitsToLeak / limit.count / 1000) }
}

function createLocalBuckets(now: () => number, maxKeys: number) {
  const buckets = new Map<string, { level: number; at: number }>()
  return {
    pour(key: string, limit: Limit): Pour {
      const one = unitsOfOne(limit)
      const at = Math.floor(now())
      const before = buckets.get(key)
      const leaked = before === undefined ? 0 : Math.min(at - before.at, one) * limit.count
      const level = before === undefined ? 0 : Math.max(0, before.level - leaked)
      const allowed = level + one <= limit.count * one
      const after = allowed ? level + one : level
      // Put last, so that the map stays ordered by use.
      buckets.delete(key)
      buckets.set(key, { level: after, at })
      if (buckets.size > maxKeys) forgetOldest()
      return { allowed, level: after }
    },
  }

  function forgetOldest(): void {
    const { value: oldest } = buckets.keys().next()
    if (oldest !== undefined) buckets.delete(oldest)
  }
}
