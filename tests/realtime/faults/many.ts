/**
 * Many rounds, one line each and a summary: `bun tests/realtime/faults/many.ts --rounds 100 --seed 1`. Round n uses
 * seed + n - 1; repeat a failed one with `--rounds 1 --seed N`. `--faults a,b` selects faults, `--log` prints the
 * instances' logs of a failed round.
 */
import { parseArgs } from 'node:util'
import { openStage } from './cluster.ts'
import { type FaultKind, faultKinds, planFor } from './plan.ts'
import { runRound } from './round.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    faults: { type: 'string' },
    log: { type: 'boolean', default: false },
  },
})
const isFault = (name: string): name is FaultKind => faultKinds.some((kind) => kind === name)
const kinds = values.faults?.split(',').filter(isFault)
const firstSeed = Number(values.seed)

const stage = await openStage()
const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP']
for (const signal of signals)
  process.on(signal, () => {
    stage.end().finally(() => process.exit(1))
  })
const failed: number[] = []
const totals = { rounds: 0, events: 0, writes: 0, retries: 0, connections: 0, slowestLastMs: 0 }
for (let seed = firstSeed; seed < firstSeed + Number(values.rounds); seed++) {
  const begun = performance.now()
  const plan = planFor(seed, kinds)
  const report = await runRound(stage, plan)
  const { problems, log, ...numbers } = report
  totals.rounds++
  totals.events += report.events
  totals.writes += report.writes
  totals.retries += report.retries
  totals.connections += report.connections
  totals.slowestLastMs = Math.max(totals.slowestLastMs, report.lastMs)
  console.log(
    `${problems.length === 0 ? 'ok    ' : 'FAILED'} seed ${seed} ${plan.instances} instances`,
    plan.faults.map(({ kind }) => kind).join('+'),
    Object.entries(numbers)
      .map(([name, value]) => `${name}=${value}`)
      .join(' '),
    `${((performance.now() - begun) / 1000).toFixed(1)} s`,
  )
  if (problems.length > 0) {
    failed.push(seed)
    for (const problem of problems) console.log(`       ${problem}`)
    if (values.log) console.log(log)
  }
}
await stage.end()
console.log(
  `${totals.rounds - failed.length} of ${totals.rounds} rounds passed`,
  JSON.stringify(totals),
  failed.length > 0 ? `failed seeds: ${failed.join(', ')}` : '',
)
process.exit(failed.length > 0 ? 1 : 0)
