/** What a round does, all of it from its seed. */
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
  /** After the first writes. */
  atMs: number
}

export interface Plan {
  seed: number
  instances: number
  lists: number
  writers: number
  subscribers: number
  /** Beside them, as many of the service's own clients. */
  clients: number
  faults: PlannedFault[]
  /** Writing goes on for at least so long. */
  writeMs: number
  /** For what is drawn while the round runs. */
  random: Random
}

const secondFaultProbability = 0.5

/** @param kinds instead of those that the seed would choose */
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
