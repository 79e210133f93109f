/**
 * Runs a database or Redis for tests in a temporary folder, under a small shell that reads commands from a pipe.
 * However the test process ends (kill -9 too), the pipe closes, and the shell stops the service and removes the folder.
 * Nothing is left running, and no process is killed by name.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { chown, mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'

export interface Service {
  readonly folder: string
  /** Starts the program and waits until it responds. */
  start(): Promise<void>
  /** `clean`: shuts it down; `crash`: kills it. */
  stop(how?: 'clean' | 'crash'): Promise<void>
  /** Stops the process without closing anything: connections stay open but unresponsive. */
  freeze(): Promise<void>
  thaw(): Promise<void>
  /** Stops it and removes its folder. */
  end(): Promise<void>
}

export interface ServiceOptions {
  name: string
  /** Called for each start, so that a private service keeps its port and folder. */
  command: (folder: string) => string[]
  /** Throws while the service does not respond yet. */
  probe: () => Promise<void>
  signals: { clean: string; crash: string }
  /** Runs once in the folder before the first start. */
  prepare?: (folder: string, run: (command: string[]) => Promise<void>) => Promise<void>
  /** Databases refuse to run as root; run by root, they run as an ordinary user. */
  ordinaryUser?: boolean
}

export class PortTaken extends Error {}

export const servicesRequired =
  process.env['CI'] === 'true' || process.env['MINIMART_REQUIRE_SERVICES'] === '1'

const startDeadlineMs = 30_000

const supervisor = `
trap : INT TERM HUP
folder=$1 crash=$2
shift 2
child=
finish() { [ -z "$child" ] && return; kill -CONT "$child"; kill -"$1" "$child"; wait "$child"; child=; } 2>/dev/null
while read -r word; do
  case $word in
    start) "$@" >>"$folder/log" 2>&1 & child=$! ;;
    STOP | CONT) kill -"$word" "$child" ;;
    *) finish "$word" ;;
  esac
  echo "$word"
done
finish "$crash"
rm -rf "$folder"
`

/** @throws PortTaken if another program took the port meanwhile; call it again with a new one */
export async function createService(options: ServiceOptions): Promise<Service> {
  const user = options.ordinaryUser ? ordinaryUser() : undefined
  const folder = await mkdtemp(join(tmpdir(), `minimart-test-${options.name}-`))
  if (user) await chown(folder, user.uid, user.gid)
  await options.prepare?.(folder, (command) => runToEnd(command, folder, user))
  const shell = Bun.spawn(
    ['/bin/sh', '-c', supervisor, 'sh', folder, options.signals.crash, ...options.command(folder)],
    {
      cwd: folder,
      env: environment(),
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'ignore',
      // In its own session, out of reach of signals to the test run's process group: the closed pipe ends it.
      detached: true,
      ...user,
    },
  )
  const answers = createInterface({ input: Readable.from(shell.stdout) })[Symbol.asyncIterator]()
  let queue = Promise.resolve()
  const send = (word: string): Promise<void> => {
    queue = queue.then(async () => {
      shell.stdin.write(`${word}\n`)
      await shell.stdin.flush()
      const answer = await answers.next()
      if (answer.value !== word) throw new Error(`the supervisor of ${options.name} ended`)
    })
    return queue
  }
  return {
    folder,
    start: async () => {
      await send('start')
      await answering(options, folder)
    },
    stop: (how = 'clean') => send(options.signals[how]),
    freeze: () => send('STOP'),
    thaw: () => send('CONT'),
    end: async () => {
      await shell.stdin.end()
      await shell.exited
    },
  }
}

async function answering(options: ServiceOptions, folder: string): Promise<void> {
  const deadline = Date.now() + startDeadlineMs
  for (;;) {
    const failure = await options.probe().then(
      () => null,
      (error: unknown) => error,
    )
    if (failure === null) return
    const log = await readFile(join(folder, 'log'), 'utf8').catch(() => '')
    if (/address already in use/i.test(log)) throw new PortTaken(`${options.name}: the port was taken`)
    if (Date.now() > deadline)
      throw new Error(`${options.name} did not start:\n${log.slice(-2000)}`, { cause: failure })
    await Bun.sleep(25)
  }
}

async function runToEnd(command: string[], cwd: string, user: User | undefined): Promise<void> {
  const child = Bun.spawn(command, { cwd, env: environment(), stdout: 'pipe', stderr: 'pipe', ...user })
  const [code, out, err] = await Promise.all([child.exited, child.stdout.text(), child.stderr.text()])
  if (code !== 0) throw new Error(`${command[0]} failed with ${code}:\n${out}${err}`)
}

/** Keeps the tester's own settings (PGHOST, locale) away from the services. */
const environment = (): Record<string, string> => ({
  PATH: `${process.env['PATH'] ?? ''}:/usr/bin:/bin`,
  LC_ALL: 'C',
})

type User = { uid: number; gid: number }

/** Undefined if the tests do not run as root: then everything runs as their own user. */
function ordinaryUser(): User | undefined {
  if (process.getuid?.() !== 0) return undefined
  const accounts = readFileSync('/etc/passwd', 'utf8')
  for (const name of ['postgres', 'nobody']) {
    const [, uid, gid] = new RegExp(`^${name}:[^:]*:(\\d+):(\\d+):`, 'm').exec(accounts) ?? []
    if (uid && gid) return { uid: Number(uid), gid: Number(gid) }
  }
  throw new Error('PostgreSQL does not run as root, and there is no user postgres or nobody to run it as')
}

/** Below those that systems give to connections and to whoever asks for any. */
const ports = { from: 20_000, count: 12_000 }

/** Calls `make` with a free loopback port, and again with another if it was taken meanwhile. */
export async function onFreePort<T>(make: (port: number) => Promise<T>, tries = 3): Promise<T> {
  const port = freePort()
  try {
    return await make(port)
  } catch (error) {
    if (error instanceof PortTaken && tries > 1) return onFreePort(make, tries - 1)
    throw error
  }
}

function freePort(): number {
  for (;;) {
    const port = ports.from + Math.floor(Math.random() * ports.count)
    try {
      Bun.listen({ hostname: '127.0.0.1', port, socket: { data: () => undefined } }).stop(true)
      return port
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) throw error
    }
  }
}

/** The first folder that contains all of `programs`: on PATH, then in `more`. */
export const folderWith = (programs: string[], more: string[] = []): string | null =>
  [...(process.env['PATH'] ?? '').split(delimiter), ...more].find((folder) =>
    programs.every((program) => folder !== '' && existsSync(join(folder, program))),
  ) ?? null

/** The folders in `parent`, highest version number first. */
export const newestFirst = (parent: string): string[] =>
  existsSync(parent)
    ? readdirSync(parent)
        .sort((a, b) => Number.parseFloat(b) - Number.parseFloat(a))
        .map((name) => join(parent, name))
    : []
