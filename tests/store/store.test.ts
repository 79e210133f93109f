import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { createClient } from 'redis'
import type { Database } from '../../src/db/database.ts'
import { AppError } from '../../src/errors.ts'
import { createTableStore, deleteExpiredEntries } from '../../src/store/database.ts'
import { type OpenStore, openStore } from '../../src/store/open.ts'
import { recordingLogger } from '../support/log.ts'
import { describePostgres, testPostgres } from '../support/postgres.ts'
import {
  describePrivateRedis,
  describeRedis,
  type PrivateRedis,
  startRedis,
  testRedis,
} from '../support/redis.ts'
import { until } from '../support/until.ts'
import { storeSuite } from './suite.ts'
import { embeddedDatabase, noDatabase, postgresDatabase } from './table.ts'

/** A call times out after two seconds, the socket on its own only after three. */
const silentMs = 2900
const installation = { name: 'this-one', isUpgraded: false }

const onTable = async (db: Database, more: Database = db) => {
  const open = (each: Database) => openStore({ redis: null, db: each, log: recordingLogger() })
  const stores: [OpenStore, OpenStore] = [await open(db), await open(more)]
  return {
    stores,
    end: async () => {
      await Promise.all(stores.map((store) => store.close()))
      await Promise.all([...new Set([db, more])].map((each) => each.close()))
    },
  }
}

const rowsExpired = async (db: Database): Promise<number> => {
  const [row] = await db.read(
    'system',
    sql<{ rows: number }>`select count(*)::integer as rows from store_entries where expires_at <= now()`,
  )
  return Number(row?.rows)
}

describe('the store in the embedded database', () => {
  storeSuite(async () => onTable(await embeddedDatabase()))

  test('expired entries are deleted, at most as many as requested, and live ones stay', async () => {
    const db = await embeddedDatabase()
    const store = createTableStore(db)
    await Promise.all([1, 2, 3].map((number) => store.set(`short ${number}`, 'x', 1)))
    await store.set('long', 'x', 60)
    await until(async () => (await rowsExpired(db)) === 3)
    const deleted = async () => (await db.write('system', deleteExpiredEntries(2))).length
    expect([await deleted(), await deleted(), await deleted()]).toEqual([2, 1, 0])
    expect(await store.get('long')).toBe('x')
    await db.close()
  })
})

describePostgres('the store in PostgreSQL', () => {
  storeSuite(async () => {
    const { url } = await (await testPostgres()).createDatabase()
    return onTable(await postgresDatabase(url), await postgresDatabase(url))
  })
})

describeRedis('the store in Redis', () => {
  storeSuite(async () => {
    const redis = { url: await (await testRedis()).freshDatabase(), installation }
    const open = () => openStore({ redis, db: noDatabase, log: recordingLogger() })
    const stores: [OpenStore, OpenStore] = [await open(), await open()]
    return { stores, end: async () => void (await Promise.all(stores.map((store) => store.close()))) }
  })
})

describePrivateRedis('when Redis fails', () => {
  let redis: PrivateRedis
  let store: OpenStore
  const log = recordingLogger()

  beforeAll(async () => {
    redis = await startRedis()
    store = await openStore({ redis: { url: redis.url, installation }, db: noDatabase, log })
  }, 60_000)
  afterAll(async () => {
    await store.close()
    await redis.end()
  })

  const failure = async (
    call: Promise<unknown>,
  ): Promise<{ code: string; ms: number; retryAfter: unknown }> => {
    const started = performance.now()
    const error = await call.then(
      () => new Error('the call was answered'),
      (thrown: unknown) => thrown,
    )
    if (!(error instanceof AppError)) throw error
    return { code: error.code, ms: performance.now() - started, retryAfter: error.extras.retryAfterSeconds }
  }

  const calls = (): Promise<unknown>[] => [
    store.get('key'),
    store.set('key', 'value', 60),
    store.delete('key'),
    store.compareAndSet('key', null, 'value', 60),
    store.increment('count', 60),
    store.ping(),
  ]

  test('every call fails with 503 in time while it is down, and recovers by itself, also after a restart', async () => {
    await store.set('key', 'value', 60)
    await redis.stop('crash')
    for (const failed of await Promise.all(calls().map(failure))) {
      expect(failed).toMatchObject({ code: 'redis_unavailable', retryAfter: expect.any(Number) })
      expect(failed.ms).toBeLessThan(silentMs)
    }
    // Once it has been down for longer than the call timeout, calls fail immediately.
    await until(async () => (await failure(store.ping())).ms < 50)
    for (const failed of await Promise.all(calls().map(failure))) {
      expect(failed.code).toBe('redis_unavailable')
      expect(failed.ms).toBeLessThan(200)
    }
    await redis.start()
    await until(() =>
      store.ping().then(
        () => true,
        () => false,
      ),
    )
    expect(await store.get('key')).toBeNull()
    // The server has lost the scripts too.
    expect(await store.compareAndSet('key', null, 'value', 60)).toBe(true)
    expect((await store.increment('count', 60)).count).toBe(1)
    expect(log.messages().filter((message) => message === 'Redis is unavailable')).toHaveLength(1)
    expect(log.messages().filter((message) => message === 'Redis is available again')).toHaveLength(1)
  }, 60_000)

  test('a call to an unresponsive Redis fails in time', async () => {
    await redis.freeze()
    try {
      const failed = await failure(store.get('key'))
      expect(failed.code).toBe('redis_unavailable')
      expect(failed.ms).toBeLessThan(silentMs)
    } finally {
      await redis.thaw()
    }
    await until(() =>
      store.ping().then(
        () => true,
        () => false,
      ),
    )
  }, 60_000)

  test('after FLUSHALL, entries are gone and calls keep working', async () => {
    await store.set('flushed', 'value', 60)
    const client = createClient({ url: redis.url })
    await client.connect()
    await client.flushAll()
    await client.scriptFlush()
    expect(await store.get('flushed')).toBeNull()
    expect(await store.compareAndSet('flushed', 'value', 'next', 60)).toBe(false)
    expect(await store.compareAndSet('flushed', null, 'next', 60)).toBe(true)
    expect(await client.keys('*')).toEqual(['minimart:this-one:{minimart:flushed}'])
    client.destroy()
  }, 60_000)

  test('a store opened while Redis is down works once it is up', async () => {
    await redis.stop()
    const log = recordingLogger()
    const late = await openStore({ redis: { url: redis.url, installation }, db: noDatabase, log })
    expect((await failure(late.ping())).code).toBe('redis_unavailable')
    await redis.start()
    await until(() =>
      late.ping().then(
        () => true,
        () => false,
      ),
    )
    await late.close()
  }, 60_000)
})
