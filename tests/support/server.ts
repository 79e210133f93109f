/**
 * Real servers for tests: on a free port, on either backend, with their own mail server. Most tests share one server
 * per backend, each in its own tenants; a test that needs other settings starts its own.
 */
import { describe } from 'bun:test'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadConfig } from '../../src/config/config.ts'
import { type RunningServer, type StartOptions, start } from '../../src/server.ts'
import { fillDataDir } from './data-dir.ts'
import { type RecordingLogger, recordingLogger } from './log.ts'
import { postgresAvailable, testPostgres } from './postgres.ts'
import { redisAvailable, testRedis } from './redis.ts'
import { isLong } from './rounds.ts'
import { servicesRequired } from './service.ts'
import { type Inbox, startInbox } from './smtp.ts'

/** `embedded`: PGlite, no Redis. `full`: PostgreSQL and Redis. */
export type Backend = 'embedded' | 'full'

export interface TestServer {
  backend: Backend
  url: string
  inbox: Inbox
  superAdmin: { email: string; password: string }
  log: RecordingLogger
  /** The server's internals, for what cannot be seen from outside. */
  running: RunningServer
  /** Its environment, to start another instance on the same state. */
  environment: Record<string, string>
  stop(): Promise<void>
}

const fullAvailable = postgresAvailable && redisAvailable

/** The same tests on both backends; a missing one is reported at the start of the run. */
export function describeBackends(title: string, body: (backend: Backend) => void): void {
  describe(`${title} (embedded)`, () => body('embedded'))
  describe.skipIf(!fullAvailable && !servicesRequired)(`${title} (full)`, () => body('full'))
}

/**
 * For what is decided before any SQL is sent and whatever stores or carries it: in the suite on one backend, the cheaper
 * one where there is a choice, and on both in `bun run test:long`.
 */
export function describeService(title: string, body: (backend: Backend) => void): void {
  if (isLong) describeBackends(title, body)
  else describe(title, () => body(fullAvailable ? 'full' : 'embedded'))
}

/** For what only a real server with several connections can show. */
export const describeFull = describe.skipIf(!fullAvailable && !servicesRequired)

/** Shared by a file's tests on one backend: created once, on first use. */
export function oncePerBackend<T>(make: (backend: Backend) => Promise<T>): (backend: Backend) => Promise<T> {
  const made = new Map<Backend, Promise<T>>()
  return (backend) => {
    const thing = made.get(backend) ?? make(backend)
    made.set(backend, thing)
    return thing
  }
}

const shared = new Map<string, Promise<TestServer>>()

function once(key: string, make: () => Promise<TestServer>): Promise<TestServer> {
  const running = shared.get(key) ?? make()
  shared.set(key, running)
  return running
}

/** The server shared by the tests of a backend. Its limits are off, and its password hashes are cheap. */
export const sharedServer = (backend: Backend): Promise<TestServer> =>
  once(backend, () => startServer(backend))

/**
 * A shared server that hashes passwords as in production, for tests of hashes and their timing. It is behind a proxy, so
 * that a test can play many clients.
 */
export const hashingServer = (backend: Backend): Promise<TestServer> =>
  once(`${backend}, hashing`, () => startServer(backend, { TRUST_PROXY: '1' }, { countsKept: false }))

export async function stopSharedServers(): Promise<void> {
  const running = [...shared.values()]
  shared.clear()
  await Promise.all(running.map(async (server) => (await server).stop()))
}

/** argon2's minimum. */
export const cheapHashes: StartOptions = { hashParameters: { memoryCost: 8, timeCost: 1, parallelism: 1 } }

/** Counting changes rows, which tests would take for an effect of what they try. */
const usual: StartOptions = { ...cheapHashes, countsKept: false }

const password = 'a long enough passphrase'

/** @param settings environment variables on top of the usual ones */
export async function startServer(
  backend: Backend,
  settings: Record<string, string> = {},
  options = usual,
): Promise<TestServer> {
  const [state, inbox, dataDir] = await Promise.all([
    freshState(backend),
    startInbox(),
    mkdtemp(join(tmpdir(), 'minimart-test-')),
  ])
  const environment = {
    DATA_DIR: dataDir,
    PORT: '0',
    JWT_SECRET_KEY: 'tests only: long enough to sign with, 0123456789',
    SUPER_ADMIN_EMAIL: 'root@platform.example',
    SUPER_ADMIN_PASSWORD: password,
    SMTP_HOST: inbox.host,
    SMTP_PORT: String(inbox.port),
    SMTP_SECURE: 'none',
    SHUTDOWN_DELAY_MS: '0',
    RATE_LIMIT_AUTH: 'off',
    RATE_LIMIT_INVITE: 'off',
    RATE_LIMIT_API: 'off',
    RATE_LIMIT_OPEN: 'off',
    RATE_LIMIT_MAIL: 'off',
    RATE_LIMIT_TENANT_MAIL: 'off',
    ...state.environment,
    ...settings,
  }
  if (backend === 'embedded') await fillDataDir(dataDir)
  const log = recordingLogger()
  const running = await start(loadConfig(environment), log, options)
  return {
    backend,
    url: running.url,
    inbox,
    superAdmin: { email: environment.SUPER_ADMIN_EMAIL, password: environment.SUPER_ADMIN_PASSWORD },
    log,
    running,
    environment,
    async stop() {
      await running.stop()
      await inbox.stop()
      await state.drop()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

/** Another instance of the full service on the same database, Redis and mail server. */
export async function startInstance(
  server: TestServer,
  settings: Record<string, string> = {},
  options = usual,
): Promise<TestServer> {
  const dataDir = await mkdtemp(join(tmpdir(), 'minimart-test-'))
  const environment = { ...server.environment, ...settings, DATA_DIR: dataDir }
  const log = recordingLogger()
  const running = await start(loadConfig(environment), log, options)
  return {
    ...server,
    url: running.url,
    log,
    running,
    environment,
    async stop() {
      await running.stop()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

async function freshState(
  backend: Backend,
): Promise<{ environment: Record<string, string>; drop(): Promise<void> }> {
  if (backend === 'embedded') return { environment: {}, drop: async () => undefined }
  const [postgres, redis] = await Promise.all([testPostgres(), testRedis()])
  const database = await postgres.createDatabase()
  return {
    environment: { DATABASE_URL: database.url, REDIS_URL: await redis.freshDatabase() },
    drop: database.drop,
  }
}
