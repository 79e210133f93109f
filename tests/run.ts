/**
 * The whole suite, `bun run test [arguments of bun test]`: starts PostgreSQL and Redis once, runs `bun test` against
 * them, and ends with the line `N passed, N failed`, plus `, N skipped` if any were.
 *
 * The files run in one process per core plus three, as many tests wait rather than compute; their output is grouped by
 * file. The longest, by timings.json, start first; `--update-timings` measures them again. A file named
 * `*.alone.test.ts` measures time, so it runs by itself after the rest. If files or names are given, there is one
 * process.
 */
import { chmod, copyFile, mkdtemp, readFile, rm, statfs } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeDataDirs } from './support/data-dir.ts'
import { missingServices } from './support/missing.ts'
import { dropDatabasesOf, postgresAvailable, startPostgres } from './support/postgres.ts'
import { redisAvailable, startRedis } from './support/redis.ts'
import { servicesRequired } from './support/service.ts'

/** Bun scopes a default timeout to the file that sets it, so it is passed here. */
const testTimeoutMs = 60_000
const keptOutput = 20_000
/** Each process holds databases in memory, so large machines get fewer than one per core. */
const processes = Math.min(3 + availableParallelism(), 7)
/** Nothing in a test runs long enough to repay the last compilers, of WebAssembly and of JavaScript: a sixth of the CPU time. */
const jit = { BUN_JSC_useOMGJIT: '0', BUN_JSC_useFTLJIT: '0' }
/** Where most Linux systems have a file system in memory: on a disk the suite takes a tenth longer. */
const memory = '/dev/shm'
/** Twice what the tests have written there at a time. */
const writtenBytes = 4 * 1024 ** 3
const timings = '--timings=tests/timings.json'

/** Ctrl-C reaches the child directly; this process stays to clean up. */
let child: Bun.Subprocess<'ignore', 'inherit', 'pipe'> | undefined
let isStopped = false
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => {
    isStopped = true
    child?.kill(signal)
  })

const missing = missingServices()
if (missing.length > 0) console.error(`*** NOT RUN HERE: ${missing.join('; ')} ***`)
process.exitCode = missing.length > 0 && servicesRequired ? refuse() : await run(process.argv.slice(2))
if (missing.length > 0) console.error(`*** NOT RUN HERE: ${missing.join('; ')} ***`)

function refuse(): number {
  console.error('CI=true or MINIMART_REQUIRE_SERVICES=1 asks for all of it, so nothing was run.')
  console.log('0 passed, 1 failed')
  return 1
}

async function run(given: string[]): Promise<number> {
  // The executable is tested too and must match the current source.
  if (
    Bun.spawnSync([process.execPath, 'src/build.ts'], { stdio: ['ignore', 'ignore', 'inherit'] }).exitCode !==
    0
  ) {
    console.log('0 passed, 1 failed')
    return 1
  }
  // For what test processes leave behind; databases that run as another user have folders in it too.
  const folder = await mkdtemp(join((await hasRoom(memory)) ? memory : tmpdir(), 'minimart-tests-'))
  await chmod(folder, 0o1777)
  const executable = join(folder, 'minimart')
  await copyFile('dist/minimart', executable)
  await chmod(executable, 0o755)
  const [postgres, redis, dataDirs] = await Promise.all([
    postgresAvailable && !process.env['TEST_DATABASE_URL'] ? startPostgres() : null,
    redisAvailable && !process.env['TEST_REDIS_URL'] ? startRedis() : null,
    makeDataDirs(join(folder, 'data-dirs'), executable).catch((error: unknown) => console.error(error)),
  ])
  const id = crypto.randomUUID().slice(0, 8)
  const total = { passed: 0, failed: 0, skipped: 0 }
  try {
    for (const args of passes(given)) {
      if (isStopped) break
      const { code, tail } = await bunTest(args, {
        ...jit,
        TMPDIR: folder,
        MINIMART_TEST_RUN: id,
        MINIMART_EXECUTABLE: executable,
        ...(dataDirs ? { MINIMART_TEST_DATA_DIRS: dataDirs } : {}),
        ...(postgres ? { TEST_DATABASE_URL: postgres.url } : {}),
        ...(redis ? { TEST_REDIS_URL: redis.url } : {}),
      })
      const { passed, failed, skipped } = counts(tail, code)
      total.passed += passed
      total.failed += failed
      total.skipped += skipped
    }
  } finally {
    const url = process.env['TEST_DATABASE_URL']
    await Promise.all([url ? dropDatabasesOf(id, url) : postgres?.end(), redis?.end()])
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }
  const { passed, failed, skipped } = total
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  return failed > 0 || passed === 0 || isStopped ? 1 : 0
}

/** Whether this is a file system in memory that can take everything the tests write and that lets programs run. */
async function hasRoom(folder: string): Promise<boolean> {
  const mounts = await readFile('/proc/mounts', 'utf8').catch(() => '')
  const [, , type, options] =
    mounts
      .split('\n')
      .map((line) => line.split(' '))
      .find(([, at]) => at === folder) ?? []
  if (type !== 'tmpfs' || options?.split(',').includes('noexec')) return false
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize >= writtenBytes
}

/** The arguments of each `bun test` run, in order. */
function passes(given: string[]): string[][] {
  if (given.some((argument) => !argument.startsWith('-'))) return [given]
  return [
    [
      `--parallel=${processes}`,
      '--no-isolate',
      timings,
      '--path-ignore-patterns=**/*.alone.test.ts',
      ...given,
    ],
    ['--pass-with-no-tests', timings, ...given, '.alone.test.'],
  ]
}

async function bunTest(
  args: string[],
  variables: Record<string, string>,
): Promise<{ code: number; tail: string }> {
  child = Bun.spawn([process.execPath, 'test', `--timeout=${testTimeoutMs}`, ...args], {
    env: { ...process.env, ...variables, ...(process.stderr.isTTY ? { FORCE_COLOR: '1' } : {}) },
    stdin: 'ignore',
    stdout: 'inherit',
    stderr: 'pipe',
  })
  const decoder = new TextDecoder()
  let tail = ''
  for await (const chunk of child.stderr) {
    process.stderr.write(chunk)
    tail = (tail + decoder.decode(chunk, { stream: true })).slice(-keptOutput)
  }
  return { code: await child.exited, tail }
}

interface Counts {
  passed: number
  failed: number
  skipped: number
}

/**
 * Parses Bun's closing lines (` 12 pass`, ` 1 fail`, …, `Ran 13 tests across …`); its JUnit report is not written when a
 * file fails to load. A run that fails without reporting a failure counts as one.
 */
function counts(output: string, code: number): Counts {
  const summary = Bun.stripANSI(output)
    .split(/^Ran \d+ tests? across/m)
    .at(-2)
  const number = (word: string): number =>
    Number([...(summary ?? '').matchAll(new RegExp(`^ (\\d+) ${word}$`, 'gm'))].at(-1)?.[1] ?? 0)
  const failed = number('fail')
  return {
    passed: number('pass'),
    failed: failed === 0 && code !== 0 ? 1 : failed,
    skipped: number('skip') + number('todo'),
  }
}
