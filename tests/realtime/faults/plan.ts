/** What a round does, all derived from its seed. */
import { type Random, randomFrom } from './random.ts'

export const faultKinds = [
  'kill-pubsub',
  'redis-restart',
  'redis-freeze',
  'kill-instance',
  'restart-instance',
  'kill-backends',
  'stalled-subscriber',
  'bad-network',
] as const
export type FaultKind = (typeof faultKinds)[number]

export interface PlannedFault {
  kind: FaultKind
  /** Delay after the first writes. */
  atMs: number
}

export interface Plan {
  seed: number
  instances: number
  lists: number
  writers: number
  subscribers: number
  /** As many again, using the service's own client. */
  clients: number
  faults: PlannedFault[]
  /** Minimum duration of the writing. */
  writeMs: number
  /** A writer's pause between two writes, at most. */
  pauseMs?: number
  /** For random choices while the round runs. */
  random: Random
}

const secondFaultProbability = 0.5

/** @param kinds overrides the seed's choice */
export function planFor(seed: number, kinds?: readonly FaultKind[]): Plan {
  const random = randomFrom(seed)
  const first = faultKinds[seed % faultKinds.length] ?? 'kill-pubsub'
  const second = random.pick(faultKinds)
  const chosen = random.chance(secondFaultProbability) && second !== first ? [first, second] : [first]
  return {
    seed,
    instances: random.between(2, 3),
    lists: random.between(2, 3),
    writers: random.between(3, 5),
    subscribers: random.between(4, 7),
    clients: random.between(1, 3),
    faults: (kinds ?? chosen).map((kind) => ({ kind, atMs: random.between(0, 1500) })),
    writeMs: random.between(3500, 5000),
    random: random.fork(),
  }
}
