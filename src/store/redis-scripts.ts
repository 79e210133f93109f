/** What Redis does in one step. Each touches one key, so a cluster knows which of its servers runs it. */
import { type CommandParser, defineScript } from 'redis'

export const compareAndSet = defineScript({
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

export const countUp = defineScript({
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

/** The arithmetic of store/rate-limiter.ts on the clock of Redis, which all instances share. */
export const pour = defineScript({
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

const flag = (value: string | null): [string, string] => (value === null ? ['0', ''] : ['1', value])
