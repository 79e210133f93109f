import { Counter, Gauge, type Registry } from 'prom-client'
import { cleanedKinds, type Round, roundOutcomes } from '../features/housekeeping/round.ts'

/** Every series starts at zero. A round skipped because another instance holds it sets no gauge. */
export function housekeepingMetrics(registry: Registry): (round: Round) => void {
  const registers = [registry]
  const removed = new Counter({
    name: 'minimart_housekeeping_removed_total',
    help: 'Expired rows deleted by this instance.',
    labelNames: ['what'] as const,
    registers,
  })
  const runs = new Counter({
    name: 'minimart_housekeeping_runs_total',
    help: 'Housekeeping runs; elsewhere: skipped, another instance was running it.',
    labelNames: ['outcome'] as const,
    registers,
  })
  const lastSuccess = new Gauge({
    name: 'minimart_housekeeping_last_success_timestamp_seconds',
    help: 'When this instance last completed a run; 0 for never.',
    registers,
  })
  const duration = new Gauge({
    name: 'minimart_housekeeping_duration_seconds',
    help: 'Duration of the last run of this instance.',
    registers,
  })
  for (const what of cleanedKinds) removed.inc({ what }, 0)
  for (const outcome of roundOutcomes) runs.inc({ outcome }, 0)
  return (round) => {
    for (const what of cleanedKinds) removed.inc({ what }, round.removed[what])
    runs.inc({ outcome: round.outcome })
    if (round.outcome === 'done') lastSuccess.setToCurrentTime()
    if (round.outcome !== 'elsewhere') duration.set(round.seconds)
  }
}
