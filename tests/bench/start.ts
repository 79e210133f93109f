/**
 * Time from the executable's start to its first 200 from /readyz, and its memory then:
 * `bun tests/bench/start.ts [rounds]`. Starts PostgreSQL and Redis. Memory is read from /proc, and is 0 where there
 * is none.
 */
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { startPostgres } from '../support/postgres.ts'
import { createProgram, type Program } from '../support/program.ts'
import { startRedis } from '../support/redis.ts'

export interface Start {
  what: string
  /** Median of the rounds. */
  readyMs: number
  /** Resident once idle; the maximum of the rounds. */
  idleMb: number
  /** Peak resident until then; the maximum of the rounds. */
  peakMb: number
}

/** @param idleMs how long to idle before the memory is read */
export async function measureStarts(rounds: number, idleMs: number): Promise<Start[]> {
  const [postgres, redis] = await Promise.all([startPostgres(), startRedis()])
  const program = createProgram('executable')
  try {
    const { url } = await postgres.createDatabase()
    const full = {
      DATA_DIR: await program.dataDir(),
      DATABASE_URL: url,
      REDIS_URL: redis.url,
      JWT_SECRET_KEY: 'for measuring only: long enough to sign with',
    }
    await measure(program, full, 0)
    const results = [await repeat('PostgreSQL and Redis', rounds, () => measure(program, full, idleMs))]
    const embedded: string[] = []
    results.push(
      await repeat('embedded, first start', rounds, async () => {
        embedded.push(await program.dataDir())
        return measure(program, { DATA_DIR: embedded.at(-1) ?? '' }, idleMs)
      }),
    )
    results.push(
      await repeat('embedded', rounds, () => measure(program, { DATA_DIR: embedded[0] ?? '' }, idleMs)),
    )
    return results
  } finally {
    await program.clean()
    await Promise.all([postgres.end(), redis.end()])
  }
}

type Measured = Omit<Start, 'what'>

async function repeat(what: string, rounds: number, once: () => Promise<Measured>): Promise<Start> {
  const measured: Measured[] = []
  while (measured.length < rounds) measured.push(await once())
  const times = measured.map(({ readyMs }) => readyMs).toSorted((one, other) => one - other)
  return {
    what,
    readyMs: Math.round(times[Math.floor(times.length / 2)] ?? 0),
    idleMb: Math.max(...measured.map(({ idleMb }) => idleMb)),
    peakMb: Math.max(...measured.map(({ peakMb }) => peakMb)),
  }
}

async function measure(program: Program, env: Record<string, string>, idleMs: number): Promise<Measured> {
  const port = await freePort()
  // Measures the program itself, not the installation of its copy before the first start.
  await program.command([])
  const startedAt = performance.now()
  const started = await program.start([], { env: { ...env, PORT: String(port), LOG_LEVEL: 'warn' } })
  try {
    await untilReady(port, startedAt)
    const readyMs = performance.now() - startedAt
    await Bun.sleep(idleMs)
    return { readyMs, ...(await memory(started.pid)) }
  } finally {
    started.signal('SIGTERM')
    await started.exited
  }
}

const readyWithinMs = 50_000
/** Finer than the figures measured. */
const pauseMs = 2

async function untilReady(port: number, startedAt: number): Promise<void> {
  const isReady = (): Promise<boolean> =>
    fetch(`http://127.0.0.1:${port}/readyz`).then(
      ({ status }) => status === 200,
      () => false,
    )
  while (!(await isReady())) {
    if (performance.now() - startedAt > readyWithinMs) throw new Error('the server did not become ready')
    await Bun.sleep(pauseMs)
  }
}

async function memory(pid: number): Promise<Pick<Measured, 'idleMb' | 'peakMb'>> {
  const status = process.platform === 'linux' ? await readFile(`/proc/${pid}/status`, 'utf8') : ''
  const megabytes = (name: string): number =>
    Math.round((Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1024) / 1_000_000)
  return { idleMb: megabytes('VmRSS'), peakMb: megabytes('VmHWM') }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port was given')
  return address.port
}

if (import.meta.main) console.table(await measureStarts(Number(process.argv[2] ?? 7), 3000))
