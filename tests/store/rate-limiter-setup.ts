import type { Limit, RateLimiter } from '../../src/store/rate-limiter.ts'

export const perMinute = { count: 3, windowSeconds: 60 }

/** How many of `calls` concurrent hits are admitted. */
export const admitted = async (
  limiter: RateLimiter,
  key: string,
  limit: Limit,
  calls: number,
): Promise<number> => {
  const outcomes = await Promise.all(Array.from({ length: calls }, () => limiter.hit(key, limit)))
  return outcomes.filter(({ allowed }) => allowed).length
}
