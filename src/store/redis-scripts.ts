/**
 * Lua scripts, each atomic. Each touches one key, so that a cluster can route it. A value that none of them could have
 * written, of another type perhaps, counts as none; they then answer that it was unfit.
 */
import { type CommandParser, defineScript } from 'redis'

const compareAndSet = defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: `
    local now = redis.pcall('GET', KEYS[1])
    local unfit = 0
    if type(now) == 'table' then now, unfit = false, 1 end
    local expected = ARGV[1] == '1' and ARGV[2]
    if now ~= expected then return { 0, unfit } end
    if ARGV[3] == '1' then
      redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
    else
      redis.call('DEL', KEYS[1])
    end
    return { 1, unfit }`,
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
  transformReply: ([done, unfit]: [number, number]) => ({ done: done === 1, isUnfit: unfit === 1 }),
})

const incrementWithTtl = defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: `
    local count = redis.pcall('INCR', KEYS[1])
    local unfit = 0
    if type(count) == 'table' then
      count, unfit = 1, 1
      redis.call('SET', KEYS[1], 1)
    end
    if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
    return { count, redis.call('PTTL', KEYS[1]), unfit }`,
  parseCommand(parser: CommandParser, key: string, ttlMs: number) {
    parser.pushKey(key)
    parser.push(String(ttlMs))
  },
  transformReply: ([count, expiresInMs, unfit]: [number, number, number]) => ({
    count,
    expiresInMs,
    isUnfit: unfit === 1,
  }),
})

/** The arithmetic of store/rate-limiter.ts, by the clock of Redis. Releases share the format "used at". */
const takeTokens = defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: `
    local count, token = tonumber(ARGV[1]), tonumber(ARGV[2])
    local wanted = token * tonumber(ARGV[3])
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local used, unfit = 0, 0
    local stored = redis.pcall('GET', KEYS[1])
    if stored then
      local units, at
      if type(stored) == 'string' then units, at = string.match(stored, '^(%d+) (%d+)$') end
      if units and tonumber(units) <= count * token then
        used = math.max(0, units - math.max(0, math.min(now - at, token)) * count)
      else
        unfit = 1
      end
    end
    if used + wanted > count * token then return { 0, used, unfit } end
    used = used + wanted
    redis.call('SET', KEYS[1], string.format('%.0f %.0f', used, now), 'PX', math.ceil(used / count))
    return { 1, used, unfit }`,
  parseCommand(parser: CommandParser, key: string, count: number, windowMs: number, tokens: number) {
    parser.pushKey(key)
    parser.push(String(count), String(windowMs), String(tokens))
  },
  transformReply: ([allowed, used, unfit]: [number, number, number]) => ({
    allowed: allowed === 1,
    used,
    isUnfit: unfit === 1,
  }),
})

export const scripts = { compareAndSet, incrementWithTtl, takeTokens }

/** Whether there is one, and the value. */
export const nullable = (value: string | null): [string, string] =>
  value === null ? ['0', ''] : ['1', value]
