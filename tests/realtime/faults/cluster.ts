/**
 * Instances of the executable on a database and a Redis of their own, so that everything may be killed. The list of
 * instances is the balancer: it tells a client where to go, which may be a dead instance.
 */
import postgres from 'postgres'
import { createClient } from 'redis'
import type { User } from '../../../src/client/index.ts'
import { asPerson, makeList, makeTenant, makeUser, type Person } from '../../support/people.ts'
import { testPostgres } from '../../support/postgres.ts'
import {
  asServer,
  createProgram,
  environmentFor,
  executableBuilt,
  type Program,
  type Running,
} from '../../support/program.ts'
import { type PrivateRedis, startRedis } from '../../support/redis.ts'
import { onFreePort } from '../../support/service.ts'
import { type Inbox, startInbox } from '../../support/smtp.ts'
import type { Random } from './random.ts'

export interface Instance {
  readonly url: string
  /** Idempotent: two faults may call it at the same time. */
  start(): Promise<void>
  /** SIGKILL, whatever it is doing. */
  kill(): Promise<void>
  /** Stops it as an operator would. @returns the exit code */
  stop(): Promise<number>
  /** For /proc, while it is running. */
  pid(): number
  /** Its latest output, over all its restarts. */
  log(): string
}

export interface Cluster {
  readonly instances: readonly [Instance, ...Instance[]]
  readonly redis: PrivateRedis
  /** As a superuser. */
  readonly sql: postgres.Sql<Record<string, never>>
  /** The owner of all lists, and an editor of them. */
  readonly people: readonly [Person, ...Person[]]
  /** The first of them, as the API returns it. */
  readonly user: User
  readonly listIds: readonly [string, ...string[]]
  /** Kills all pub/sub connections of Redis. @returns how many */
  killPubsub(): Promise<number>
  /** Kills all database connections but the test's own. @returns how many */
  killBackends(): Promise<number>
  end(): Promise<void>
}

/** Shared by all rounds: the program, and its users' mail server. */
export interface Stage {
  readonly program: Program
  readonly inbox: Inbox
  end(): Promise<void>
}

export async function openStage(): Promise<Stage> {
  const source = process.env['MINIMART_TEST_PROGRAM'] === 'source' || !executableBuilt
  const program = createProgram(source ? 'source' : 'executable')
  const inbox = await startInbox()
  return {
    program,
    inbox,
    async end() {
      await program.clean()
      await inbox.stop()
    },
  }
}

export interface ClusterSize {
  instances: number
  lists: number
  /** People who see all lists, beyond the two that there always are. */
  more?: number
}

const observer = 'minimart-test-observer'

export async function startCluster(stage: Stage, size: ClusterSize): Promise<Cluster> {
  const [server, redis] = await Promise.all([testPostgres(), startRedis()])
  const database = await server.createDatabase()
  const sql = postgres(database.url, {
    max: 2,
    onnotice: () => undefined,
    connection: { application_name: observer },
  })
  const environment = {
    ...environmentFor(stage.inbox, ''),
    DATABASE_URL: database.url,
    REDIS_URL: redis.url,
    JWT_SECRET_KEY: 'tests only: long enough to sign with, 0123456789',
  }
  const running: Instance[] = []
  const end = async (): Promise<void> => {
    await Promise.all(running.map((instance) => instance.kill()))
    await sql.end({ timeout: 2 })
    await Promise.all([database.drop(), redis.end()])
  }
  const open = async (): Promise<Instance> => {
    const instance = await createInstance(stage.program, environment)
    running.push(instance)
    await instance.start()
    return instance
  }
  try {
    const first = await open()
    const others = await Promise.all(Array.from({ length: size.instances - 1 }, open))
    return {
      instances: [first, ...others],
      redis,
      sql,
      ...(await settle(stage, first.url, environment, size)),
      killPubsub: () => killPubsub(redis.url),
      killBackends: async () => {
        const ended = await sql`select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and application_name <> ${observer}`
        return ended.length
      },
      end,
    }
  } catch (error) {
    await end()
    throw error
  }
}

/** May pick a dead instance too: clients have to try another one. */
export const balance =
  ({ instances }: Pick<Cluster, 'instances'>, random: Random) =>
  (): string =>
    random.pick(instances).url

async function createInstance(program: Program, environment: Record<string, string>): Promise<Instance> {
  const cwd = await program.folder()
  const port = await onFreePort(async (free) => free)
  let current: Running | null = null
  const lives: Running[] = []
  let ending = Promise.resolve(0)
  let starting: Promise<void> | null = null
  const begin = async (): Promise<void> => {
    const env = { ...environment, PORT: String(port), DATA_DIR: `${cwd}/data` }
    await ending
    try {
      current = await (await program.start([], { env, cwd })).ready()
      lives.push(current)
    } finally {
      starting = null
    }
  }
  /** A second caller sends its signal too, and waits for the same exit. */
  const gone = (signal: NodeJS.Signals): Promise<number> => {
    const leaving = current ?? lives.at(-1)
    leaving?.signal(signal)
    if (current) ending = current.exited
    current = null
    return ending
  }
  return {
    url: `http://127.0.0.1:${port}`,
    start() {
      if (!current) starting ??= begin()
      return starting ?? Promise.resolve()
    },
    kill: async () => void (await gone('SIGKILL')),
    stop: () => gone('SIGTERM'),
    pid() {
      if (!current) throw new Error('the instance is not running')
      return current.pid
    },
    log: () => lives.map((life) => life.output() + life.errors()).join(''),
  }
}

async function settle(stage: Stage, url: string, environment: Record<string, string>, size: ClusterSize) {
  const server = asServer({ url }, { backend: 'full', inbox: stage.inbox, environment })
  const tenant = await makeTenant(server)
  const member = await makeUser(server, tenant)
  const owner = await asPerson(server, tenant.admin.email, tenant.admin.password)
  const user: User = (await member.api.get('/auth/me')).body
  const listIds: string[] = []
  for (let index = 0; index < size.lists; index++) listIds.push((await makeList(member, `List ${index}`)).id)
  const [first = '', ...others] = listIds
  const more: Person[] = []
  while (more.length < (size.more ?? 0)) more.push(await makeUser(server, tenant, { role: 'tenant_admin' }))
  return { people: [member, owner, ...more], user, listIds: [first, ...others] } as const
}

/** Returns 0 if Redis itself is down. */
async function killPubsub(url: string): Promise<number> {
  const client = createClient({ url, socket: { reconnectStrategy: false, connectTimeout: 2000 } })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return Number(await client.sendCommand(['CLIENT', 'KILL', 'TYPE', 'pubsub']))
  } catch {
    return 0
  } finally {
    client.destroy()
  }
}
