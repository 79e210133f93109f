/**
 * For one release, on a database that was upgraded: the state of the release before, whose keys are `minimart:` and the
 * key, and whose instances may still run beside this one.
 *
 * What this release writes it also writes there, for those instances to read, and keeps a hash of it. What is found
 * there with another hash they have written since, and it counts; what is gone from there they have deleted or used up,
 * and so is ours. A value of another type counts as none, as in redis-scripts.ts. Each script is atomic, so that nothing is used up twice or comes back to life. In a cluster all three
 * keys have one slot (redis.ts).
 */
import { type CommandParser, defineScript } from 'redis'
import { nullable } from './redis-scripts.ts'

/** Leaves the entry's value in `now`, false if there is none. */
const settle = `
  local own, older, mirrored = KEYS[1], KEYS[2], KEYS[3]
  local function write(value, ttl)
    ttl = math.max(1, tonumber(ttl))
    redis.call('SET', own, value, 'PX', ttl)
    redis.call('SET', older, value, 'PX', ttl)
    redis.call('SET', mirrored, redis.sha1hex(value), 'PX', ttl)
  end
  local function remove() redis.call('DEL', own, older, mirrored) end
  local unfit = 0
  local function get(key)
    local value = redis.pcall('GET', key)
    if type(value) ~= 'table' then return value end
    unfit = 1
    return false
  end
  local there, known = get(older), get(mirrored)
  if there and redis.sha1hex(there) ~= known then
    write(there, redis.call('PTTL', older))
  elseif known and not there then
    remove()
  end
  local now = get(own)`

function pushKeys(parser: CommandParser, name: string, key: string): void {
  parser.pushKey(name)
  parser.pushKey(`minimart:${key}`)
  parser.pushKey(`${name}:mirrored`)
}

const getBeside = defineScript({
  NUMBER_OF_KEYS: 3,
  SCRIPT: `${settle}
    return { now, unfit }`,
  parseCommand: pushKeys,
  transformReply: ([value, unfit]: [string | null, number]) => ({ value, isUnfit: unfit === 1 }),
})

const setBeside = defineScript({
  NUMBER_OF_KEYS: 3,
  SCRIPT: `${settle}
    write(ARGV[1], ARGV[2])`,
  parseCommand(parser: CommandParser, name: string, key: string, value: string, ttlMs: number) {
    pushKeys(parser, name, key)
    parser.push(value, String(ttlMs))
  },
  transformReply: () => undefined,
})

const deleteBeside = defineScript({
  NUMBER_OF_KEYS: 3,
  SCRIPT: `${settle}
    local existed = redis.call('EXISTS', own)
    remove()
    return existed`,
  parseCommand: pushKeys,
  transformReply: (reply: number): boolean => reply === 1,
})

const compareAndSetBeside = defineScript({
  NUMBER_OF_KEYS: 3,
  SCRIPT: `${settle}
    local expected = ARGV[1] == '1' and ARGV[2]
    if now ~= expected then return { 0, unfit } end
    if ARGV[3] == '1' then write(ARGV[4], ARGV[5]) else remove() end
    return { 1, unfit }`,
  parseCommand(
    parser: CommandParser,
    name: string,
    key: string,
    expected: string | null,
    next: string | null,
    ttlMs: number,
  ) {
    pushKeys(parser, name, key)
    parser.push(...nullable(expected), ...nullable(next), String(ttlMs))
  },
  transformReply: ([done, unfit]: [number, number]) => ({ done: done === 1, isUnfit: unfit === 1 }),
})

const incrementBeside = defineScript({
  NUMBER_OF_KEYS: 3,
  SCRIPT: `${settle}
    local before = now and string.match(now, '^%d+$') and #now < 16 and tonumber(now)
    if now and not before then unfit = 1 end
    local count = (before or 0) + 1
    local ttl = now and redis.call('PTTL', own) or -1
    if ttl < 0 then ttl = tonumber(ARGV[1]) end
    write(string.format('%d', count), ttl)
    return { count, ttl, unfit }`,
  parseCommand(parser: CommandParser, name: string, key: string, ttlMs: number) {
    pushKeys(parser, name, key)
    parser.push(String(ttlMs))
  },
  transformReply: ([count, expiresInMs, unfit]: [number, number, number]) => ({
    count,
    expiresInMs,
    isUnfit: unfit === 1,
  }),
})

export const upgradeScripts = { getBeside, setBeside, deleteBeside, compareAndSetBeside, incrementBeside }
