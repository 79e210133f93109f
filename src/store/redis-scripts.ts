/** Lua scripts, each atomic. Each touches one key, so that a cluster can route it. */
import { type CommandParser, defineScript } from 'redis'

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
    parser.push(...nullable(expected), ...nullable(next), String(ttlMs))
  },
  transformReply: (reply: number): boolean => reply === 1,
})

const incrementWithTtl = defineScript({
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

/** The arithmetic of store/rate-limiter.ts, by the clock of Redis. Releases share the format "used at". */
const takeToken = defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: `
    local count, token = tonumber(ARGV[1]), tonumber(ARGV[2])
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local used = 0
    local stored = redis.call('GET', KEYS[1])
    if stored then
      local units, at = string.match(stored, '^(%d+) (%d+)$')
      used = math.max(0, units - math.max(0, math.min(now - at, token)) * count)
    end
    if used + token > count * token then return { 0, used } end
    used = used + token
    redis.call('SET', KEYS[1], string.format('%.0f %.0f', used, now), 'PX', math.ceil(used / count))
    return { 1, used }`,
  parseCommand(parser: CommandParser, key: string, count: number, windowMs: number) {
    parser.pushKey(key)
    parser.push(String(count), String(windowMs))
  },
  transformReply: ([allowed, used]: [number, number]) => ({ allowed: allowed === 1, used }),
})

export const scripts = { compareAndSet, incrementWithTtl, takeToken }

/** Whether there is one, and the value. */
export const nullable = (value: string | null): [string, string] =>
  value === null ? ['0', ''] : ['1', value]
