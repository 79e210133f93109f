/**
 * The whole suite, `bun run test [arguments of bun test]`: starts PostgreSQL and Redis once, runs `bun test` against
 * them, and closes with the line `N passed, N failed`, `, N skipped` behind it where there were any.
 */
import { missingServices } from './support/missing.ts'
import { postgresAvailable, startPostgres } from './support/postgres.ts'
import { redisAvailable, startRedis } from './support/redis.ts'
import { servicesRequired } from './support/service.ts'

/** Bun keeps a default timeout only for the file that sets it, so it is given here. */
const testTimeoutMs = 60_000
const keptOutput = 20_000

const missing = missingServices()
if (missing.length > 0) console.error(`*** NOT RUN HERE: ${missing.join('; ')} ***`)
process.exitCode = missing.length > 0 && servicesRequired ? refuse() : await run(process.argv.slice(2))
if (missing.length > 0) console.error(`*** NOT RUN HERE: ${missing.join('; ')} ***`)

function refuse(): number {
  console.error('CI=true or MINIMART_REQUIRE_SERVICES=1 asks for both, so nothing was run.')
  console.log('0 passed, 1 failed')
  return 1
}

async function run(given: string[]): Promise<number> {
  // The executable is tested too, and it must be this very source.
  if (
    Bun.spawnSync([process.execPath, 'src/build.ts'], { stdio: ['ignore', 'ignore', 'inherit'] }).exitCode !==
    0
  ) {
    console.log('0 passed, 1 failed')
    return 1
  }
  const [postgres, redis] = await Promise.all([
    postgresAvailable && !process.env['TEST_DATABASE_URL'] ? startPostgres() : null,
    redisAvailable && !process.env['TEST_REDIS_URL'] ? startRedis() : null,
  ])
  try {
    const { code, tail } = await bunTest(given, {
      ...(postgres ? { TEST_DATABASE_URL: postgres.url } : {}),
      ...(redis ? { TEST_REDIS_URL: redis.url } : {}),
    })
    const { passed, failed, skipped } = counts(tail, code)
    console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
    return code !== 0 || failed > 0 || passed === 0 ? 1 : 0
  } finally {
    await Promise.all([postgres?.end(), redis?.end()])
  }
}

/** Ctrl-C reaches the child by itself; this process stays to clean up. */
async function bunTest(
  given: string[],
  urls: Record<string, string>,
): Promise<{ code: number; tail: string }> {
  const child = Bun.spawn([process.execPath, 'test', `--timeout=${testTimeoutMs}`, ...given], {
    env: { ...process.env, ...urls, ...(process.stderr.isTTY ? { FORCE_COLOR: '1' } : {}) },
    stdin: 'ignore',
    stdout: 'inherit',
    stderr: 'pipe',
  })
  const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const signal of signals) process.on(signal, () => child.kill(signal))
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
 * From bun's closing lines (` 12 pass`, ` 1 fail`, …, `Ran 13 tests across …`). Its JUnit report is no use here: it
 * is not written when a file fails to load. A run that ended badly without saying what failed counts as one failure.
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
