/** Chooses the store: Redis when there is one, else a table of the database. Holds both to the same bounds. */
import type { Database } from '../db/database.ts'
import type { Logger } from '../log.ts'
import { createTableStore } from './database.ts'
import type { SharedBuckets } from './rate-limiter.ts'
import { openRedisStore } from './redis.ts'
import type { Store } from './store.ts'

export interface StoreOptions {
  /** Null: the state is kept in `db`. */
  redisUrl: string | null
  db: Database
  log: Logger
}

export interface OpenStore extends Store {
  readonly kind: 'redis' | 'table'
  /** For createRateLimiter; null where this instance is the only one. */
  readonly sharedBuckets: SharedBuckets | null
  /** How often Redis was away and came back; 0 where there is none. */
  reconnects(): number
}

const maxKeyBytes = 512
const maxValueBytes = 64 * 1024

/** Opens even when Redis is away just now: calls then fail with `redis_unavailable` until it is back. */
export async function openStore({ redisUrl, db, log }: StoreOptions): Promise<OpenStore> {
  if (redisUrl === null) return bounded(createTableStore(db), 'table', null, () => 0)
  const redis = await openRedisStore({ url: redisUrl, log })
  return bounded(redis, 'redis', redis.buckets, redis.reconnects)
}

/** Breaking a bound is a fault of the calling code, so a plain RangeError. */
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

/** NUL and lone surrogates would not come back from a PostgreSQL text as they went in. */
function checkText(what: string, text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) > maxBytes)
    throw new RangeError(`a store ${what} takes at most ${maxBytes} bytes`)
  if (text.includes('\0') || !text.isWellFormed())
    throw new RangeError(`a store ${what} must be well-formed text without NUL`)
  return text
}

function checkTtl(seconds: number): number {
  if (!(seconds >= 1 && seconds <= 10 * 366 * 86_400))
    throw new RangeError('a store entry lives from one second to ten years')
  return seconds
}
