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

describe('a limit counted by one instance', () => {
  test('lets its whole count through at once, and tells what is left and when there is one call more', async () => {
    const { clock, limiter } = atClock()
    const told = async () => {
      const { allowed, remaining, resetSeconds } = await limiter.hit('key', perMinute)
      return [allowed, remaining, resetSeconds]
    }
    expect([await told(), await told(), await told(), await told()]).toEqual([
      [true, 2, 20],
      [true, 1, 20],
      [true, 0, 20],
      [false, 0, 20],
    ])
    clock.ms += 19_999
    expect(await told()).toEqual([false, 0, 1])
    clock.ms += 1
    expect(await told()).toEqual([true, 0, 20])
    clock.ms += 35_000
    expect(await told()).toEqual([true, 0, 5])
    expect(await told()).toEqual([false, 0, 5])
  })

  test('is whole again after one window, and never more than whole', async () => {
    const { clock, limiter } = atClock()
    expect(await admitted(limiter, 'key', perMinute, 10)).toBe(3)
    clock.ms += 60_000
    expect(await admitted(limiter, 'key', perMinute, 10)).toBe(3)
    clock.ms += 86_400_000
    expect(await admitted(limiter, 'key', perMinute, 10)).toBe(3)
  })

  test('keys and limits do not share', async () => {
    const { limiter } = atClock()
    expect(await admitted(limiter, 'one', perMinute, 5)).toBe(3)
    expect(await admitted(limiter, 'two', perMinute, 5)).toBe(3)
    expect(await admitted(limiter, 'one', { count: 4, windowSeconds: 60 }, 5)).toBe(4)
    const long = 'x'.repeat(10_000)
    expect(await admitted(limiter, `${long}1`, perMinute, 5)).toBe(3)
    expect(await admitted(limiter, `${long}2`, perMinute, 5)).toBe(3)
  })

  test('holds to its count exactly, whatever the count and window', async () => {
    const windows = fc.constantFrom(1, 60, 3600, 86_400)
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 500 }), windows, async (count, windowSeconds) => {
        const { limiter } = atClock()
        expect(await admitted(limiter, 'key', { count, windowSeconds }, count + 20)).toBe(count)
      }),
    )
  })

  test('told that there is one call more in n seconds, there is, and not a second before', async () => {
    const calls = fc.array(fc.integer({ min: 0, max: 30_000 }), { maxLength: 60 })
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 20 }), calls, async (count, pauses) => {
        const limit = { count, windowSeconds: 60 }
        /** How many more get through that long after what was told; the same story each time. */
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

  test('the largest limit there can be is counted without rounding', async () => {
    const { clock, limiter } = atClock()
    const day = { count: 9_999_999, windowSeconds: 86_400 }
    expect((await limiter.hit('key', day)).remaining).toBe(9_999_998)
    expect((await limiter.hit('key', day)).remaining).toBe(9_999_997)
    clock.ms += 9
    expect((await limiter.hit('key', day)).remaining).toBe(9_999_997)
  })

  test('remembers a bounded number of keys, forgetting the one longest unused', async () => {
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

describe('when the shared buckets are out of reach', () => {
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

  test('the instance counts alone, says so once, asks again each second, and says when they are back', async () => {
    const clock = { ms: 0 }
    const shared = unreachable()
    const log = recordingLogger()
    const limiter = createRateLimiter({ shared, log, now: () => clock.ms })
    expect(await admitted(limiter, 'key', perMinute, 10)).toBe(3)
    const askedAtOnce = shared.asked
    await admitted(limiter, 'key', perMinute, 10)
    expect(shared.asked).toBe(askedAtOnce)
    clock.ms += 1000
    await admitted(limiter, 'key', perMinute, 10)
    expect(shared.asked).toBe(askedAtOnce + 1)
    expect(log.messages()).toEqual(['rate limits are counted per instance until Redis is available again'])
    shared.away = false
    clock.ms += 1000
    expect(await limiter.hit('key', perMinute)).toMatchObject({ allowed: true, remaining: 2 })
    expect(log.messages().slice(1)).toEqual(['rate limits are shared between instances again'])
  })

  test('a fault of the program is not taken for an outage', async () => {
    const shared: SharedBuckets = { take: () => Promise.reject(new TypeError('a fault')) }
    const limiter = createRateLimiter({ shared, log: recordingLogger() })
    await expect(limiter.hit('key', perMinute)).rejects.toThrow('a fault')
  })
})
