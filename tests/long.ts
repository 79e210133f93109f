/**
 * Randomised tests with many rounds: `bun run test:long [seed]`, about an hour. Each step prints its seed and
 * counts; the closing lines say what ran, for how long, and whether it passed.
 */
const seed = Number(process.argv[2] ?? Date.now() % 2 ** 31)

const faultRounds = process.env['MINIMART_FAULT_ROUNDS'] ?? '100'

const suite = (...files: string[]): string[] => ['tests/run.ts', ...files]
const steps: [what: string, command: string[]][] = [
  ['generated requests', suite('tests/http/fuzz/fuzz.test.ts')],
  ['the worst inputs', suite('tests/http/worst-inputs.test.ts')],
  ['isolation, statement by statement on both databases', suite('tests/access/isolation/mutation.test.ts')],
  ['a user who reads as much as they can', suite('tests/api/lists/reading-neighbours.test.ts')],
  ['100,000 revocations', suite('tests/access/revocations-many.test.ts')],
  ['months of the embedded database', suite('tests/api/housekeeping/space.test.ts')],
  ['kill -9 under writes', suite('tests/db/embedded/durability.test.ts')],
  ['connections to PostgreSQL killed under load', suite('tests/db/postgres/database.test.ts')],
  ['a restore killed at each of its moves', suite('tests/backup/cut-off.test.ts')],
  ['subscribers joining while others write', suite('tests/realtime/socket-race.test.ts')],
  [
    'faults under live events',
    ['tests/realtime/faults/many.ts', '--rounds', faultRounds, '--seed', String(seed)],
  ],
]

let child: Bun.Subprocess | undefined
let isStopped = false
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => {
    isStopped = true
    child?.kill(signal)
  })

const outcomes: { what: string; passed: boolean; seconds: number }[] = []
for (const [what, command] of steps) {
  if (isStopped) break
  console.log(`\n== ${what}, seed ${seed}`)
  const begun = performance.now()
  child = Bun.spawn([process.execPath, ...command], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      ...process.env,
      MINIMART_LONG: '1',
      MINIMART_FUZZ_SEED: String(seed),
      MINIMART_KILL_SEED: String(seed),
    },
  })
  const passed = (await child.exited) === 0
  outcomes.push({ what, passed, seconds: (performance.now() - begun) / 1000 })
}

console.log('')
for (const { what, passed, seconds } of outcomes)
  console.log(`${passed ? 'passed' : 'FAILED'} ${seconds.toFixed(0).padStart(5)} s  ${what}`)
const failed = outcomes.filter(({ passed }) => !passed).length
console.log(
  `${outcomes.length - failed} passed, ${failed} failed, seed ${seed}${isStopped ? ', stopped before the end' : ''}`,
)
process.exitCode = failed > 0 || isStopped ? 1 : 0
