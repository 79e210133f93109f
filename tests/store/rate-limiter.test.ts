import { describe, expect, test } from 'bun:test'
import * as fc from 'fast-check'
import { AppError } from '../../src/errors.ts'
import { createRateLimiter, type Limit, type SharedBuckets } from '../../src/store/rate-limiter.ts'
import { recordingLogger } from '../support/log.ts'
import { admitted, perMinute } from './rate-limiter-setup.ts'

function atClock(maxLocalKeys?: number) {
  const clock = { ms: 5_000_000.5 }
  const limiter = createRateLimiter({
    shared: null,
    log: recordingLogger(),
    now: () => clock.ms,
    ...(maxLocalKeys === undefined ? {} : { maxLocalKeys }),
  })
  return { clock, limiter }
}

describe('a local limit', () => {
  test('admits its whole count in a burst, and returns remaining calls and the time until the next one', async () => {
    const { clock, limiter } = atClock()
    const hit = async () => {
      const { allowed, remaining, resetSeconds } = await limiter.hit('key', perMinute)
      return [allowed, remaining, resetSeconds]
    }
    expect([await hit(), await hit(), await hit(), await hit()]).toEqual([
      [true, 2, 20],
      [true, 1, 20],
      [true, 0, 20],
      [false, 0, 20],
    ])
    clock.ms += 19_999
    expect(await hit()).toEqual([false, 0, 1])
    clock.ms += 1
    expect(await hit()).toEqual([true, 0, 20])
    clock.ms += 35_000
    expect(await hit()).toEqual([true, 0, 5])
    expect(await hit()).toEqual([false, 0, 5])
  })

  test('is full again after one window, and never more than full', async () => {
    const { clock, limiter } = atClock()
    expect(await admitted(limiter, 'key', perMinute, 10)).toBe(3)
    clock.ms += 60_000
    expect(await admitted(limiter, 'key', perMinute, 10)).toBe(3)
    clock.ms += 86_400_000
    expect(await admitted(limiter, 'key', perMinute, 10)).toBe(3)
  })

  test('is kept per key and limit', async () => {
    const { limiter } = atClock()
    expect(await admitted(limiter, 'one', perMinute, 5)).toBe(3)
    expect(await admitted(limiter, 'two', perMinute, 5)).toBe(3)
    expect(await admitted(limiter, 'one', { count: 4, windowSeconds: 60 }, 5)).toBe(4)
    const long = 'x'.repeat(10_000)
    expect(await admitted(limiter, `${long}1`, perMinute, 5)).toBe(3)
    expect(await admitted(limiter, `${long}2`, perMinute, 5)).toBe(3)
  })

  test('admits exactly its count, whatever the count and window', async () => {
    const windows = fc.constantFrom(1, 60, 3600, 86_400)
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 500 }), windows, async (count, windowSeconds) => {
        const { limiter } = atClock()
        expect(await admitted(limiter, 'key', { count, windowSeconds }, count + 20)).toBe(count)
      }),
    )
  })

  test('admits the next call after resetSeconds, and not a second before', async () => {
    const calls = fc.array(fc.integer({ min: 0, max: 30_000 }), { maxLength: 60 })
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 20 }), calls, async (count, pauses) => {
        const limit = { count, windowSeconds: 60 }
        /** How many more calls are admitted after that wait; each run replays the same calls. */
        const letThroughAfter = async (wait: (resetSeconds: number) => number) => {
          const { clock, limiter } = atClock()
          for (const pause of pauses) {
            clock.ms += pause
            await limiter.hit('key', limit)
          }
          const { remaining, resetSeconds } = await limiter.hit('key', limit)
          clock.ms += wait(resetSeconds)
          return (await admitted(limiter, 'key', limit, count + 1)) - remaining
        }
        expect(await letThroughAfter((seconds) => seconds * 1000)).toBe(1)
        expect(await letThroughAfter((seconds) => Math.max(0, (seconds - 1) * 1000 - 1))).toBe(0)
      }),
    )
  })

  test('counts the largest limit without rounding', async () => {
    const { clock, limiter } = atClock()
    const day = { count: 9_999_999, windowSeconds: 86_400 }
    expect((await limiter.hit('key', day)).remaining).toBe(9_999_998)
    expect((await limiter.hit('key', day)).remaining).toBe(9_999_997)
    clock.ms += 9
    expect((await limiter.hit('key', day)).remaining).toBe(9_999_997)
  })

  test('keeps a bounded number of keys, evicting the least recently used', async () => {
    const { limiter } = atClock(2)
    const once = { count: 1, windowSeconds: 60 }
    await limiter.hit('one', once)
    await limiter.hit('two', once)
    await limiter.hit('one', once)
    await limiter.hit('three', once)
    expect((await limiter.hit('one', once)).allowed).toBe(false)
    expect((await limiter.hit('two', once)).allowed).toBe(true)
  })
})

describe('when the shared buckets are unavailable', () => {
  const unreachable = (): SharedBuckets & { asked: number; away: boolean } => {
    const buckets = {
      asked: 0,
      away: true,
      take: async (_key: string, { windowSeconds }: Limit) => {
        buckets.asked++
        if (buckets.away) throw new AppError('redis_unavailable', 'away')
        return { allowed: true, used: windowSeconds * 1000 }
      },
    }
    return buckets
  }

  test('the instance counts locally, logs it once, retries each second, and logs when they are back', async () => {
    const clock = { ms: 0 }
    const shared = unreachable()
    const log = recordingLogger()
    const limiter = createRateLimiter({ shared, log, now: () => clock.ms })
    expect(await admitted(limiter, 'key', perMinute, 10)).toBe(3)
    const askedFirst = shared.asked
    await admitted(limiter, 'key', perMinute, 10)
    expect(shared.asked).toBe(askedFirst)
    clock.ms += 1000
    await admitted(limiter, 'key', perMinute, 10)
    expect(shared.asked).toBe(askedFirst + 1)
    expect(log.messages()).toEqual(['rate limits are counted per instance until Redis is available again'])
    shared.away = false
    clock.ms += 1000
    expect(await limiter.hit('key', perMinute)).toMatchObject({ allowed: true, remaining: 2 })
    expect(log.messages().slice(1)).toEqual(['rate limits are shared between instances again'])
  })

  test('a bug is not mistaken for an outage', async () => {
    const shared: SharedBuckets = { take: () => Promise.reject(new TypeError('a fault')) }
    const limiter = createRateLimiter({ shared, log: recordingLogger() })
    await expect(limiter.hit('key', perMinute)).rejects.toThrow('a fault')
  })
})
