import { Counter, Gauge, type Registry } from 'prom-client'
import { cleanedKinds, type Round, roundOutcomes } from '../features/housekeeping/round.ts'

/** Every label stands from the beginning, at zero. A round that another instance had begun says nothing of this one. */
export function housekeepingMetrics(registry: Registry): (round: Round) => void {
  const registers = [registry]
  const removed = new Counter({
    name: 'minimart_housekeeping_removed_total',
    help: 'Rows cleared away by this instance.',
    labelNames: ['what'] as const,
    registers,
  })
  const runs = new Counter({
    name: 'minimart_housekeeping_runs_total',
    help: 'Rounds of housekeeping; elsewhere: another instance was at it.',
    labelNames: ['outcome'] as const,
    registers,
  })
  const lastSuccess = new Gauge({
    name: 'minimart_housekeeping_last_success_timestamp_seconds',
    help: 'When this instance last finished a round; 0 for never.',
    registers,
  })
  const duration = new Gauge({
    name: 'minimart_housekeeping_duration_seconds',
    help: 'How long the last round of this instance took.',
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
