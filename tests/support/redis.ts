/**
 * Redis (or Valkey) for tests: the server of TEST_REDIS_URL, else one started from the program found on PATH.
 * `testRedis` is shared by the whole run, with a numbered database per file; `startRedis` is a private server that a
 * test may stop, crash, freeze and flush. Channels are shared by all numbered databases of a server.
 */
import { describe } from 'bun:test'
import { join } from 'node:path'
import { createClient } from 'redis'
import { createService, folderWith, onFreePort, type Service, servicesRequired } from './service.ts'

export interface TestRedis {
  readonly url: string
  /** The URL of an empty numbered database that no other file uses. */
  freshDatabase(): Promise<string>
}

export type PrivateRedis = TestRedis & Omit<Service, 'folder'>

/** The server program; null if there is none. */
export const redisProgram: string | null = findProgram()

export const redisAvailable = process.env['TEST_REDIS_URL'] !== undefined || redisProgram !== null

/** `describe`, skipped if there is no Redis; on CI it runs and fails. */
export const describeRedis = describe.skipIf(!redisAvailable && !servicesRequired)
/** The same for tests that stop or flush the server, which need a private one. */
export const describePrivateRedis = describe.skipIf(redisProgram === null && !servicesRequired)

let shared: Promise<TestRedis> | undefined

/** The run's shared server, started on the first call. */
export function testRedis(): Promise<TestRedis> {
  const given = process.env['TEST_REDIS_URL']
  shared ??= given === undefined ? startRedis() : Promise.resolve(serverAt(given))
  return shared
}

/** A private server; stopped with `end()`, or with the process. It does not persist across a stop. */
export const startRedis = (): Promise<PrivateRedis> => onFreePort(startOn)

async function startOn(port: number): Promise<PrivateRedis> {
  const program = redisProgram
  if (program === null) throw new Error('There is no Redis: set TEST_REDIS_URL or install redis-server')
  const server = serverAt(`redis://127.0.0.1:${port}`)
  const service = await createService({
    name: 'redis',
    signals: { clean: 'INT', crash: 'KILL' },
    command: (folder) => [
      program,
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder],
      ...['--save', '', '--appendonly', 'no', '--databases', '1000'],
    ],
    probe: () => withClient(server.url, async (client) => void (await client.ping())),
  })
  try {
    await service.start()
  } catch (error) {
    await service.end()
    throw error
  }
  const { start, stop, freeze, thaw, end } = service
  return { ...server, start, stop, freeze, thaw, end }
}

const counterKey = 'minimart-test:databases-given'

/** Numbers are allocated in database 0, so that test processes sharing a server do not collide. */
function serverAt(url: string): TestRedis {
  return {
    url,
    freshDatabase: () =>
      withClient(url, async (client) => {
        const { databases } = await client.configGet('databases')
        const number = 1 + ((await client.incr(counterKey)) % (Number(databases) - 1))
        await client.select(number)
        await client.flushDb()
        const own = new URL(url)
        own.pathname = `/${number}`
        return own.href
      }),
  }
}

async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = connection(url)
  client.on('error', () => undefined)
  try {
    await client.connect()
    return await work(client)
  } finally {
    client.destroy()
  }
}

const connection = (url: string) =>
  createClient({ url, socket: { reconnectStrategy: false, connectTimeout: 2000 } })
type Client = ReturnType<typeof connection>

function findProgram(): string | null {
  for (const name of ['redis-server', 'valkey-server']) {
    const folder = folderWith([name])
    if (folder !== null) return join(folder, name)
  }
  return null
}
