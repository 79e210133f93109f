/** Opens the store: Redis with REDIS_URL, else a database table. Enforces the same bounds on both. */
import type { Database } from '../db/database.ts'
import type { Logger } from '../log.ts'
import { createTableStore } from './database.ts'
import type { SharedBuckets } from './rate-limiter.ts'
import { openRedisStore, type RedisStoreOptions } from './redis.ts'
import type { Store } from './store.ts'

export interface StoreOptions {
  /** Null: state is kept in `db`. */
  redis: Pick<RedisStoreOptions, 'url' | 'installation'> | null
  db: Database
  log: Logger
}

export interface OpenStore extends Store {
  readonly kind: 'redis' | 'table'
  /** For createRateLimiter; null without Redis, when there is only one instance. */
  readonly sharedBuckets: SharedBuckets | null
  /** Redis outages that have ended; 0 without Redis. */
  reconnects(): number
}

const maxKeyBytes = 512
const maxValueBytes = 64 * 1024

/** Opens even while Redis is unavailable: calls then fail with `redis_unavailable` until it is back. */
export async function openStore({ redis, db, log }: StoreOptions): Promise<OpenStore> {
  if (redis === null) return bounded(createTableStore(db), 'table', null, () => 0)
  const store = await openRedisStore({ ...redis, log })
  return bounded(store, 'redis', store.buckets, store.reconnects)
}

/** Exceeding a bound is a bug in the calling code, hence a plain RangeError. */
function bounded(
  store: Store,
  kind: OpenStore['kind'],
  sharedBuckets: SharedBuckets | null,
  reconnects: () => number,
): OpenStore {
  return {
    kind,
    sharedBuckets,
    reconnects,
    get: async (key) => store.get(checkKey(key)),
    set: async (key, value, ttlSeconds) => store.set(checkKey(key), checkValue(value), checkTtl(ttlSeconds)),
    delete: async (key) => store.delete(checkKey(key)),
    compareAndSet: async (key, expected, next, ttlSeconds) =>
      next === null
        ? store.compareAndSet(checkKey(key), checkExpected(expected), null, 0)
        : store.compareAndSet(checkKey(key), checkExpected(expected), checkValue(next), checkTtl(ttlSeconds)),
    increment: async (key, ttlSeconds) => store.increment(checkKey(key), checkTtl(ttlSeconds)),
    ping: store.ping,
    close: store.close,
  }
}

const checkKey = (key: string): string => checkText('key', key, maxKeyBytes)
const checkValue = (value: string): string => checkText('value', value, maxValueBytes)

const checkExpected = (value: string | null): string | null => (value === null ? null : checkValue(value))

/** PostgreSQL's text cannot hold NUL or lone surrogates. */
function checkText(what: string, text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) > maxBytes)
    throw new RangeError(`a store ${what} must have at most ${maxBytes} bytes`)
  if (text.includes('\0') || !text.isWellFormed())
    throw new RangeError(`a store ${what} must be well-formed text without NUL`)
  return text
}

function checkTtl(seconds: number): number {
  if (!(seconds >= 1 && seconds <= 10 * 366 * 86_400))
    throw new RangeError('the TTL of a store entry must be from one second to ten years')
  return seconds
}
