/**
 * The store in Redis. Only here is the driver known. While Redis is away, calls fail with `redis_unavailable` within
 * two seconds, at once when the outage is older than that, and the connection comes back by itself.
 */
import { type CommandParser, createClient, defineScript, ErrorReply } from 'redis'
import { AppError } from '../errors.ts'
import type { SharedBuckets } from '../lib/rate-limiter.ts'
import type { Logger } from '../log.ts'
import type { Store } from './store.ts'

export interface RedisStore extends Store {
  readonly buckets: SharedBuckets
}

/** A command not sent by then is taken back; one not answered by then is given up, and may have happened. */
const sendDeadlineMs = 1500
const answerDeadlineMs = 2000
/** A limit is checked at every request, so it waits less. */
const bucketDeadlineMs = 500
const repeatLogEveryMs = 60_000
const maxWaitingCommands = 10_000

/**
 * Waits up to two seconds for the first connection and goes on trying after that.
 * @throws TypeError when the URL is none of Redis.
 */
export async function openRedisStore({ url, log }: { url: string; log: Logger }): Promise<RedisStore> {
  const client = connect(url)
  const outage = watch(client, log)
  const first = client.connect().catch((error: unknown) => {
    if (!outage.closing()) log.error('the connection to Redis was given up', { error })
  })
  await before(answerDeadlineMs, first).catch(() => undefined)

  const call = async <T>(deadlineMs: number, command: () => Promise<T>): Promise<T> => {
    if (outage.olderThan(deadlineMs)) throw unavailable()
    try {
      return await before(deadlineMs, command())
    } catch (error) {
      throw isFault(error) ? error : unavailable(error)
    }
  }
  const ask = <T>(command: () => Promise<T>): Promise<T> => call(answerDeadlineMs, command)

  return {
    get: (key) => ask(() => client.get(key)),
    set: async (key, value, ttlSeconds) => {
      await ask(() => client.set(key, value, { expiration: { type: 'PX', value: milliseconds(ttlSeconds) } }))
    },
    delete: async (key) => (await ask(() => client.del(key))) === 1,
    compareAndSet: (key, expected, next, ttlSeconds) =>
      ask(() => client.compareAndSet(key, expected, next, next === null ? 0 : milliseconds(ttlSeconds))),
    increment: (key, ttlSeconds) => ask(() => client.countUp(key, milliseconds(ttlSeconds))),
    ping: async () => {
      await ask(() => client.ping())
    },
    close: async () => {
      outage.close()
      if (client.isReady) await before(1000, client.close()).catch(() => undefined)
      if (client.isOpen) client.destroy()
    },
    buckets: {
      pour: (key, { count, windowSeconds }) =>
        call(bucketDeadlineMs, () => client.pour(`limit:${key}`, count, windowSeconds * 1000)),
    },
  }
}

const milliseconds = (seconds: number): number => Math.ceil(seconds * 1000)

const flag = (value: string | null): [string, string] => (value === null ? ['0', ''] : ['1', value])

const compareAndSet = defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: `
    local now = redis.call('GET', KEYS[1])
    local expected = ARGV[1] == '1' and ARGV[2]
    if now ~= expected then return 0 end
    if ARGV[3] == '1' then
      redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
    else
      redis.call('DEL', KEYS[1])
    end
    return 1`,
  parseCommand(
    parser: CommandParser,
    key: string,
    expected: string | null,
    next: string | null,
    ttlMs: number,
  ) {
    parser.pushKey(key)
    parser.push(...flag(expected), ...flag(next), String(ttlMs))
  },
  transformReply: (reply: number): boolean => reply === 1,
})

const countUp = defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: `
    local count = redis.call('INCR', KEYS[1])
    if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
    return { count, redis.call('PTTL', KEYS[1]) }`,
  parseCommand(parser: CommandParser, key: string, ttlMs: number) {
    parser.pushKey(key)
    parser.push(String(ttlMs))
  },
  transformReply: ([count, expiresInMs]: [number, number]) => ({ count, expiresInMs }),
})

/** The arithmetic of lib/rate-limiter.ts on the clock of Redis, which all instances share. */
const pour = defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: `
    local count, one = tonumber(ARGV[1]), tonumber(ARGV[2])
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local level = 0
    local stored = redis.call('GET', KEYS[1])
    if stored then
      local units, at = string.match(stored, '^(%d+) (%d+)$')
      level = math.max(0, units - math.max(0, math.min(now - at, one)) * count)
    end
    if level + one > count * one then return { 0, level } end
    level = level + one
    redis.call('SET', KEYS[1], string.format('%.0f %.0f', level, now), 'PX', math.ceil(level / count))
    return { 1, level }`,
  parseCommand(parser: CommandParser, key: string, count: number, windowMs: number) {
    parser.pushKey(key)
    parser.push(String(count), String(windowMs))
  },
  transformReply: ([allowed, level]: [number, number]) => ({ allowed: allowed === 1, level }),
})

type Client = ReturnType<typeof connect>

function connect(url: string) {
  return createClient({
    url,
    keyPrefix: 'minimart:',
    scripts: { compareAndSet, countUp, pour },
    commandOptions: { timeout: sendDeadlineMs },
    commandsQueueMaxLength: maxWaitingCommands,
    // Together they notice a connection that died without a word.
    pingInterval: 1000,
    socket: { socketTimeout: 3000, connectTimeout: 2000, reconnectStrategy: reconnectDelayMs },
  })
}

/** Doubling from 50 ms to 2 s, at random between half and whole, so that instances do not come back in step. */
const reconnectDelayMs = (retries: number): number =>
  Math.min(2000, 50 * 2 ** Math.min(retries, 10)) * (0.5 + Math.random() / 2)

/** Tells how long Redis has been away, and logs an outage once, each minute, and at its end. */
function watch(client: Client, log: Logger) {
  let awaySince: number | null = null
  let loggedAt = 0
  let closing = false
  client.on('error', (error: unknown) => {
    const now = performance.now()
    awaySince ??= now
    if (closing || (loggedAt > 0 && now - loggedAt < repeatLogEveryMs)) return
    loggedAt = now
    log.error('Redis is away', { error, seconds: Math.round((now - awaySince) / 1000) })
  })
  client.on('ready', () => {
    if (awaySince !== null && !closing)
      log.info('Redis is back', { seconds: Math.round((performance.now() - awaySince) / 1000) })
    awaySince = null
    loggedAt = 0
  })
  return {
    olderThan: (ms: number): boolean => awaySince !== null && performance.now() - awaySince > ms,
    closing: (): boolean => closing,
    close: (): void => {
      closing = true
    },
  }
}

const unavailable = (cause?: unknown): AppError =>
  new AppError('redis_unavailable', 'Redis cannot be reached at the moment.', { retryAfterSeconds: 2, cause })

/** States of a server that pass; any other error it answers with is a fault of the program. */
const passing =
  /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY|OOM|MISCONF|NOAUTH|WRONGPASS)\b/

const isFault = (error: unknown): boolean => error instanceof ErrorReply && !passing.test(error.message)

async function before<T>(deadlineMs: number, answer: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`Redis did not answer in ${deadlineMs} ms`)), deadlineMs)
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}
