/**
 * The program as its users start it: a child process with only the environment the test gives it, and
 * SHUTDOWN_DELAY_MS=0. From source, and as the executable, which runs in an empty folder and, if the tests run as root,
 * as an ordinary user.
 */
import { afterAll, describe } from 'bun:test'
import { chmodSync, existsSync, mkdirSync, mkdtempSync } from 'node:fs'
import { chmod, chown, copyFile, mkdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type DataDirState, fillDataDir } from './data-dir.ts'
import { recordingLogger } from './log.ts'
import { postgresAvailable, type TestDatabase, testPostgres } from './postgres.ts'
import { testRedis } from './redis.ts'
import type { Backend, TestServer } from './server.ts'
import type { Inbox } from './smtp.ts'
import { until } from './until.ts'

export type Form = 'source' | 'executable'

export interface Outcome {
  code: number
  stdout: string
  stderr: string
}

export interface Running {
  readonly pid: number
  /** Its URL, from its greeting. */
  readonly url: string
  readonly output: () => string
  readonly errors: () => string
  /** Its output parsed as JSON lines. */
  readonly lines: () => Record<string, unknown>[]
  signal(name: NodeJS.Signals): void
  /** The exit code; 128 plus the signal's number if a signal ended it. */
  readonly exited: Promise<number>
}

export interface Started extends Omit<Running, 'url'> {
  /** Waits for the greeting. */
  ready(): Promise<Running>
}

export interface Program {
  readonly form: Form
  /** An empty folder writable by the program's user; removed by `clean`. */
  folder(): Promise<string>
  /** A DATA_DIR in such a folder; without a state, one that does not exist yet. */
  dataDir(state?: DataDirState): Promise<string>
  /**
   * Settings of a database for tests to which its kind makes no difference: one on PostgreSQL that all of them share,
   * as a server opens it in a fraction of the time that the embedded one takes; without PostgreSQL a new embedded one.
   */
  anyDatabase(): Promise<Record<string, string>>
  run(args: string[], options?: RunOptions): Promise<Outcome>
  start(args: string[], options?: RunOptions): Promise<Started>
  /** The bare command line, to be wrapped in another command. */
  command(args: string[]): Promise<string[]>
  /** Ends whatever is still running and removes the folders. */
  clean(): Promise<void>
}

export interface RunOptions {
  env?: Record<string, string>
  stdin?: string
  cwd?: string
  /** A command prefix, like `strace -f`. */
  under?: string[]
  /** Runs on a terminal; all output is in `stdout`. */
  terminal?: boolean
}

const root = resolve(import.meta.dir, '../..')
const installed = process.env['MINIMART_EXECUTABLE']
const built = installed ?? join(root, 'dist/minimart')
export const executableBuilt = existsSync(built)

/** How tests/run.ts has set the engine's compilers. */
const jit: Record<string, string> = {}
for (const [name, value = ''] of Object.entries(process.env))
  if (name.startsWith('BUN_JSC_')) jit[name] = value

const asRoot = process.getuid?.() === 0
const nobody = 65_534
const testSecret = 'tests only: long enough to sign with, 0123456789'
const readyMs = 50_000
const runMs = 45_000

/** Tests of the executable, which is what people run; reported as skipped if it was not built. */
export function describeExecutable(title: string, body: (program: Program) => void): void {
  describe.skipIf(!executableBuilt)(`${title} (executable)`, () => withProgram('executable', body))
}

/** The same tests for both forms, where the two could differ. */
export function describePrograms(title: string, body: (program: Program) => void): void {
  describe(`${title} (source)`, () => withProgram('source', body))
  describeExecutable(title, body)
}

function withProgram(form: Form, body: (program: Program) => void): void {
  const program = createProgram(form)
  afterAll(program.clean)
  body(program)
}

export function createProgram(form: Form): Program {
  const base = mkdtempSync(join(tmpdir(), 'minimart-program-'))
  chmodSync(base, 0o755)
  // Outside those folders, so that they contain only what a test put there.
  const temporary = join(base, 'temporary')
  mkdirSync(temporary)
  chmodSync(temporary, 0o1777)
  const running = new Set<Started>()
  let count = 0
  let own: Promise<string> | undefined
  let shared: Promise<TestDatabase> | undefined

  const folder = async (): Promise<string> => {
    const path = join(base, `folder-${++count}`)
    await mkdir(path)
    if (asRoot && form === 'executable') await chown(path, nobody, nobody)
    return path
  }
  const dataDir = async (state?: DataDirState): Promise<string> => {
    const path = join(await folder(), 'data')
    const isFilled = state === undefined || (await fillDataDir(path, state))
    if (asRoot && form === 'executable' && existsSync(path))
      await Bun.$`chown -R ${nobody}:${nobody} ${path}`.quiet()
    if (!isFilled && state === 'migrated') await run(['migrate', 'up'], { env: { DATA_DIR: path } })
    return path
  }
  const command = async (args: string[]): Promise<string[]> => {
    if (form === 'source') return [process.execPath, join(root, 'src/main.ts'), ...args]
    own ??= install(base)
    const ordinary = ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups']
    return [...(asRoot ? ordinary : []), await own, ...args]
  }
  const start = async (args: string[], options: RunOptions = {}): Promise<Started> => {
    const cwd = options.cwd ?? (await folder())
    const plain = [...(options.under ?? []), ...(await command(args))]
    const started = spawn(options.terminal ? onTerminal(plain) : plain, {
      cwd,
      env: {
        PATH: process.env['PATH'] ?? '',
        HOME: join(base, 'home'),
        TMPDIR: temporary,
        TERM: 'xterm',
        ...jit,
        SHUTDOWN_DELAY_MS: '0',
        ...options.env,
      },
      ...(options.stdin === undefined ? {} : { stdin: options.stdin }),
    })
    running.add(started)
    void started.exited.then(() => running.delete(started))
    return started
  }
  const run = async (args: string[], options?: RunOptions): Promise<Outcome> => {
    const started = await start(args, options)
    const timer = setTimeout(() => started.signal('SIGKILL'), runMs)
    const code = await started.exited
    clearTimeout(timer)
    return { code, stdout: started.output(), stderr: started.errors() }
  }
  return {
    form,
    folder,
    dataDir,
    async anyDatabase() {
      if (!postgresAvailable) return { DATA_DIR: await dataDir('migrated') }
      shared ??= testPostgres().then((server) => server.createDatabase())
      const { url } = await shared
      return { DATA_DIR: await dataDir(), DATABASE_URL: url, JWT_SECRET_KEY: testSecret }
    },
    command,
    start,
    run,
    async clean() {
      const left = [...running]
      for (const started of left) killWithChildren(started.pid)
      await Promise.all(left.map(({ exited }) => exited))
      await (await shared)?.drop()
      await rm(base, { recursive: true, force: true })
    },
  }
}

/** On a terminal the server survives its parent, because it ignores SIGHUP; so its children are killed too. */
function killWithChildren(pid: number): void {
  const children = Bun.spawnSync(['pgrep', '-P', String(pid)])
    .stdout.toString()
    .split('\n')
    .filter(Boolean)
  for (const child of children) killWithChildren(Number(child))
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It exited meanwhile.
  }
}

/** For the helpers of people.ts; `running` is inaccessible, because it is another process. */
export function asServer(
  { url }: Pick<Running, 'url'>,
  { backend, inbox, environment }: { backend: Backend; inbox: Inbox; environment: Record<string, string> },
): TestServer {
  return {
    backend,
    url,
    inbox,
    environment,
    superAdmin: {
      email: environment['SUPER_ADMIN_EMAIL'] ?? '',
      password: environment['SUPER_ADMIN_PASSWORD'] ?? '',
    },
    log: recordingLogger(),
    get running(): never {
      throw new Error('the program runs in a process of its own')
    },
    stop: async () => undefined,
  }
}

/** The settings that tests of src/server.ts use, without those of a database. */
export const environmentFor = (inbox: Inbox, dataDir: string): Record<string, string> => ({
  DATA_DIR: dataDir,
  PORT: '0',
  SUPER_ADMIN_EMAIL: 'root@platform.example',
  SUPER_ADMIN_PASSWORD: 'a long enough passphrase',
  SMTP_HOST: inbox.host,
  SMTP_PORT: String(inbox.port),
  SMTP_SECURE: 'none',
  RATE_LIMIT_AUTH: 'off',
  RATE_LIMIT_INVITE: 'off',
  RATE_LIMIT_API: 'off',
  RATE_LIMIT_OPEN: 'off',
  RATE_LIMIT_MAIL: 'off',
  RATE_LIMIT_TENANT_MAIL: 'off',
})

/** `environmentFor` with a PostgreSQL database and a Redis of its own. */
export async function fullEnvironmentFor(
  inbox: Inbox,
  dataDir: string,
): Promise<{ env: Record<string, string>; database: TestDatabase }> {
  const [postgres, redis] = await Promise.all([testPostgres(), testRedis()])
  const [database, redisUrl] = await Promise.all([postgres.createDatabase(), redis.freshDatabase()])
  const env = {
    ...environmentFor(inbox, dataDir),
    DATABASE_URL: database.url,
    REDIS_URL: redisUrl,
    JWT_SECRET_KEY: testSecret,
  }
  return { env, database }
}

/** A copy any user may run, unless tests/run.ts has installed one. */
async function install(base: string): Promise<string> {
  if (installed !== undefined) return installed
  const path = join(base, 'minimart')
  await copyFile(built, path)
  await chmod(path, 0o755)
  return path
}

const onTerminal = (command: string[]): string[] => [
  'script',
  '-qefc',
  command.map((part) => `'${part.replaceAll("'", `'\\''`)}'`).join(' '),
  '/dev/null',
]

function spawn(
  command: string[],
  { cwd, env, stdin }: { cwd: string; env: Record<string, string>; stdin?: string },
): Started {
  const child = Bun.spawn(command, {
    cwd,
    env,
    stdin: stdin === undefined ? 'ignore' : new Blob([stdin]),
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [output, errors] = [collect(child.stdout), collect(child.stderr)]
  const exited = (async () => {
    const code = await child.exited
    await Promise.all([output.ended, errors.ended])
    return code
  })()
  const started = {
    pid: child.pid,
    output: output.text,
    errors: errors.text,
    lines: () => jsonLines(output.text()),
    signal: (name: NodeJS.Signals) => child.kill(name),
    exited,
  }
  const url = (): string | undefined =>
    /"url":"(http:[^"]+)"/.exec(output.text())?.[1] ??
    /(http:\/\/[\w.:[\]]+:\d+)\/(?:api|docs)/.exec(output.text())?.[1]
  return {
    ...started,
    ready: async () => {
      const found = await until(
        () => url() ?? (child.exitCode === null ? null : 'gone'),
        'the greeting',
        readyMs,
      )
      if (found === 'gone')
        throw new Error(`it ended with ${child.exitCode}: ${output.text()}${errors.text()}`)
      return { ...started, url: found }
    },
  }
}

function collect(stream: ReadableStream<Uint8Array>): { text: () => string; ended: Promise<void> } {
  const decoder = new TextDecoder()
  let text = ''
  const ended = (async () => {
    for await (const chunk of stream) text += decoder.decode(chunk, { stream: true })
  })()
  return { text: () => text, ended }
}

const jsonLines = (text: string): Record<string, unknown>[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line))
