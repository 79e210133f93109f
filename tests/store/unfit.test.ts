/** What is in the store and could not have come from here counts as none: an operator's slip costs no 500. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Type } from '@sinclair/typebox'
import { createClient } from 'redis'
import { createRateLimiter } from '../../src/store/rate-limiter.ts'
import { openRedisStore, type RedisStore } from '../../src/store/redis.ts'
import { createUnfitReports, storedJson } from '../../src/store/stored-json.ts'
import { recordingLogger } from '../support/log.ts'
import { describeRedis, testRedis } from '../support/redis.ts'
import { perMinute } from './rate-limiter-setup.ts'

const installations = { 'of its own': false, 'beside an earlier release': true }
for (const [what, isUpgraded] of Object.entries(installations))
  describeRedis(`a key in Redis ${what} that does not fit`, () => {
    const installation = { name: 'this-one', isUpgraded }
    const log = recordingLogger()
    let store: RedisStore
    let redis: ReturnType<typeof createClient>
    let keys = 0

    beforeAll(async () => {
      const url = await (await testRedis()).freshDatabase()
      store = await openRedisStore({ url, installation, log })
      redis = createClient({ url })
      await redis.connect()
    })
    afterAll(async () => {
      redis.destroy()
      await store.close()
    })

    /** Ways to make a value under a key. */
    const others: Record<string, (key: string) => Promise<unknown>> = {
      'a list': (key) => redis.lPush(key, ['a', 'b']),
      'a hash': (key) => redis.hSet(key, 'field', 'value'),
      'a stream': (key) => redis.xAdd(key, '*', { field: 'value' }),
    }
    const words: Record<string, (key: string) => Promise<unknown>> = {
      ...others,
      'a word': (key) => redis.set(key, 'many'),
      nothing: (key) => redis.set(key, ''),
      'too large a number': (key) => redis.set(key, '9'.repeat(400)),
      'numbers beyond any limit': (key) => redis.set(key, `${'9'.repeat(400)} 5`),
    }
    const freshKey = async (make: (key: string) => Promise<unknown>, prefix = ''): Promise<string> => {
      const key = `unfit-${++keys}`
      await make(`minimart:${installation.name}:{minimart:${prefix}${key}}`)
      return key
    }

    test.each(Object.entries(others))('%s is read as no value, and replaced by one', async (_what, make) => {
      const key = await freshKey(make)
      expect(await store.get(key)).toBeNull()
      expect(await store.compareAndSet(key, 'value', 'next', 60)).toBe(false)
      expect(await store.compareAndSet(key, null, 'next', 60)).toBe(true)
      expect(await store.get(key)).toBe('next')
      expect(await store.delete(await freshKey(make))).toBe(true)
      const gone = await freshKey(make)
      expect(await store.compareAndSet(gone, null, null, 60)).toBe(true)
      const set = await freshKey(make)
      await store.set(set, 'next', 60)
      expect(await store.get(set)).toBe('next')
    })

    test.each(Object.entries(words))(
      '%s is counted from zero, and no longer than a count',
      async (_what, make) => {
        const key = await freshKey(make)
        const first = await store.increment(key, 60)
        expect(first.count).toBe(1)
        expect(first.expiresInMs).toBeWithin(50_000, 60_001)
        expect((await store.increment(key, 60)).count).toBe(2)
      },
    )

    test('a count that never ends is given an end', async () => {
      const key = await freshKey((name) => redis.set(name, '7'))
      const { count, expiresInMs } = await store.increment(key, 60)
      expect(count).toBe(8)
      expect(expiresInMs).toBeWithin(50_000, 60_001)
    })

    test.each(Object.entries(words))('%s is an unused rate limit', async (_what, make) => {
      const limiter = createRateLimiter({ shared: store.buckets, log })
      const key = await freshKey(make, 'limit:3/60:')
      for (const remaining of [2, 1, 0])
        expect(await limiter.hit(key, perMinute)).toMatchObject({ allowed: true, remaining })
      expect(await limiter.hit(key, perMinute)).toMatchObject({ allowed: false })
    })

    test('is reported once a minute for each kind', () => {
      const reported = log.lines.map(({ level, message, fields }) => [level, message, fields?.['kind']])
      const message = 'something in the store does not fit and counts as none'
      expect(reported.toSorted()).toEqual([
        ['warn', message, 'counter'],
        ['warn', message, 'rate limit'],
        ['warn', message, 'value'],
      ])
    })
  })

describe('stored JSON', () => {
  test('that does not fit its schema, or is too long, is null and reported; nothing stored is only null', () => {
    const kinds: string[] = []
    const read = storedJson('pair', Type.Object({ a: Type.Integer() }), 20, (kind) => kinds.push(kind))
    expect(read(null)).toBeNull()
    expect<object | null>(read('{"a":1,"more":2}')).toEqual({ a: 1, more: 2 })
    expect(kinds).toEqual([])
    for (const unfit of ['', '{', 'null', '[]', '{"a":"1"}', `{"a":1,"b":"${'x'.repeat(20)}"}`])
      expect(read(unfit)).toBeNull()
    expect(kinds).toEqual(Array(6).fill('pair'))
  })

  test('is reported again after a minute', () => {
    let now = 0
    const log = recordingLogger()
    const report = createUnfitReports(log, () => now)
    for (now = 0; now < 150_000; now += 1000) {
      report('one')
      report('other')
    }
    expect(log.lines.map(({ fields }) => fields?.['kind'])).toEqual(Array(3).fill(['one', 'other']).flat())
  })
})
