import { afterAll, beforeAll, expect, test } from 'bun:test'
import { createRateLimiter, type RateLimiter } from '../../src/store/rate-limiter.ts'
import { openRedisStore, type RedisStore } from '../../src/store/redis.ts'
import { recordingLogger } from '../support/log.ts'
import {
  describePrivateRedis,
  describeRedis,
  type PrivateRedis,
  startRedis,
  testRedis,
} from '../support/redis.ts'
import { until } from '../support/until.ts'
import { admitted, perMinute } from './rate-limiter-setup.ts'

const installation = { name: 'this-one', isUpgraded: false }

describeRedis('a limit shared through Redis', () => {
  let stores: RedisStore[] = []
  let limiters: RateLimiter[] = []
  let keys = 0
  const freshKey = (): string => `limited-${++keys}`

  beforeAll(async () => {
    const url = await (await testRedis()).freshDatabase()
    stores = await Promise.all(
      [1, 2].map(() => openRedisStore({ url, installation, log: recordingLogger() })),
    )
    limiters = stores.map(({ buckets }) => createRateLimiter({ shared: buckets, log: recordingLogger() }))
  }, 60_000)
  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()))
  })

  test('holds across all instances, however many calls are concurrent', async () => {
    const key = freshKey()
    const through = await Promise.all(
      limiters.map((limiter) => admitted(limiter, key, { count: 20, windowSeconds: 3600 }, 50)),
    )
    expect(through.reduce((sum, each) => sum + each, 0)).toBe(20)
  })

  test('returns remaining calls and reset time, as a single instance would', async () => {
    const key = freshKey()
    const [limiter] = limiters
    const outcomes = [1, 2, 3, 4].map(() => limiter?.hit(key, perMinute))
    expect(await Promise.all(outcomes)).toEqual([
      { allowed: true, limit: 3, remaining: 2, resetSeconds: 20 },
      { allowed: true, limit: 3, remaining: 1, resetSeconds: 20 },
      { allowed: true, limit: 3, remaining: 0, resetSeconds: 20 },
      { allowed: false, limit: 3, remaining: 0, resetSeconds: 20 },
    ])
  })

  test('admits a call again after the reset time', async () => {
    const key = freshKey()
    const [limiter] = limiters
    const limit = { count: 2, windowSeconds: 1 }
    const started = performance.now()
    expect(limiter && (await admitted(limiter, key, limit, 5))).toBe(2)
    await until(async () => (await limiter?.hit(key, limit))?.allowed === true)
    expect(performance.now() - started).toBeGreaterThan(450)
  })

  test('counts the largest limit without rounding', async () => {
    const [limiter] = limiters
    const key = freshKey()
    const day = { count: 9_999_999, windowSeconds: 86_400 }
    // Concurrently, because a hundred tokens are refilled each second.
    const hits = await Promise.all([limiter?.hit(key, day), limiter?.hit(key, day)])
    expect(hits.map((hit) => hit?.remaining)).toEqual([9_999_998, 9_999_997])
  })
})

describePrivateRedis('when Redis fails', () => {
  let redis: PrivateRedis
  let store: RedisStore
  beforeAll(async () => {
    redis = await startRedis()
    store = await openRedisStore({ url: redis.url, installation, log: recordingLogger() })
  }, 60_000)
  afterAll(async () => {
    await store.close()
    await redis.end()
  })

  test('limits are counted locally within half a second, and shared again when it is back', async () => {
    const log = recordingLogger()
    const limiter = createRateLimiter({ shared: store.buckets, log })
    expect(await admitted(limiter, 'key', perMinute, 2)).toBe(2)
    await redis.stop('crash')
    const started = performance.now()
    expect(await admitted(limiter, 'key', perMinute, 10)).toBe(3)
    expect(performance.now() - started).toBeLessThan(900)
    await redis.start()
    await until(async () => {
      await limiter.hit('other', perMinute)
      return log.messages().includes('rate limits are shared between instances again')
    })
    expect(log.lines).toHaveLength(2)
  }, 60_000)
})
