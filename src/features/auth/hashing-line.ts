/**
 * The line in front of the password hasher: a few hashes are computed at a time, some wait, and beyond that callers get
 * `busy` immediately. Nobody fills it alone: a group of callers has a few places at most, and some places are kept for
 * those who are known, whom strangers would otherwise keep out for as long as they go on.
 */
import { blockOf, isLoopback, networksOf } from '../../access/client-address.ts'
import type { KnownNetworks } from '../../access/known-networks.ts'
import { AppError } from '../../errors.ts'

/** Who wants a place. */
export interface Asker {
  /** Whose places they take; null for nobody's. */
  readonly group: string | null
  /** How many these are at most. */
  readonly places: number
  /** Asked where a stranger gets none: the group whose places they take as somebody known; null for nobody known. */
  knownAs(): Promise<string | null>
}

/** Of a block of addresses, and of a network that an account knows. */
const placesPerBlock = 8
/** An admin may add many users at once. */
const placesPerUser = 32
const keptForKnown = 1 / 4

/**
 * Somebody who signs in: one of that address block, or of a network that the account knows. From loopback comes whoever
 * uses a proxy on this machine that TRUST_PROXY does not name, so it tells nobody from anybody else.
 */
export const signingIn = (knownNetworks: KnownNetworks, email: string, address: string | null): Asker => {
  const from = address ?? 'unknown'
  return {
    group: isLoopback(from) ? null : blockOf(from),
    places: placesPerBlock,
    knownAs: async () =>
      (await knownNetworks.includes(email, from)) ? `known from ${networksOf(from)[0]}` : null,
  }
}

/** Somebody who has proved who they are. */
export const provenUser = (userId: string): Asker => ({
  group: userId,
  places: placesPerUser,
  knownAs: async () => userId,
})

export interface HashingLine {
  /** @param asker null: the service itself, which belongs to no group. @throws AppError busy (503) when there is no place */
  run<T>(asker: Asker | null, work: () => Promise<T>): Promise<T>
  load(): { running: number; waiting: number }
}

/**
 * @param concurrency how many run at the same time
 * @param maxWaiting how many more may wait
 */
export function createHashingLine(concurrency: number, maxWaiting: number): HashingLine {
  const places = createPlaces(concurrency + maxWaiting, Math.floor(maxWaiting * keptForKnown))
  let running = 0
  const waiting: (() => void)[] = []

  return {
    async run(asker, work) {
      const leave = await places.take(asker)
      try {
        // A finished task passes its turn on, so `running` stays as it is.
        if (running >= concurrency) await new Promise<void>((resolve) => waiting.push(resolve))
        else running++
        try {
          return await work()
        } finally {
          const next = waiting.shift()
          if (next) next()
          else running--
        }
      } finally {
        leave()
      }
    },
    load: () => ({ running, waiting: waiting.length }),
  }
}

function createPlaces(total: number, kept: number) {
  const heldBy = new Map<string, number>()
  let held = 0

  /** @returns how to give the place back; null where there is none */
  const tryTake = (group: string | null, places: number, most: number): (() => void) | null => {
    const ofGroup = group === null ? 0 : (heldBy.get(group) ?? 0)
    if (held >= most || ofGroup >= places) return null
    held++
    if (group !== null) heldBy.set(group, ofGroup + 1)
    return () => {
      held--
      if (group === null) return
      const left = (heldBy.get(group) ?? 1) - 1
      if (left > 0) heldBy.set(group, left)
      else heldBy.delete(group)
    }
  }

  return {
    async take(asker: Asker | null): Promise<() => void> {
      const taken =
        asker === null
          ? tryTake(null, total, total)
          : (tryTake(asker.group, asker.places, total - kept) ?? (await takeKept(asker)))
      if (taken) return taken
      throw new AppError('busy', 'Too many people are signing in right now. Try again in a moment.', {
        retryAfterSeconds: 2,
      })
    },
  }

  async function takeKept(asker: Asker): Promise<(() => void) | null> {
    const group = await asker.knownAs()
    return group === null ? null : tryTake(group, asker.places, total)
  }
}
