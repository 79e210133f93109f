/**
 * Lines for what reads much at once, so that no client's reading is felt by another. A user has a few places, each held
 * until what was read in it has been handed over; in these they take turns with other tenants at the instance's reads,
 * of which no tenant makes all. Whoever finds no room waits a while, and is then refused.
 */
import { AppError } from '../errors.ts'
import type { Actor } from './actor.ts'

export interface Line {
  /**
   * @param gone leaves the line when aborted
   * @throws AppError busy (503) when the line is full, after 10 seconds, or when the caller is gone
   */
  enter(actor: Actor, gone: AbortSignal): Promise<Place>
  /** Null where that would mean to wait. */
  enterNow(actor: Actor, gone: AbortSignal): Place | null
  counts(): LineCounts
}

export interface LineCounts {
  /** Places taken. */
  held: number
  waiting: number
  /** Since the start. */
  refused: number
}

export interface Place {
  /** Reads in the tenant's turn. @throws AppError busy (503), as `enter` */
  read<T>(work: () => Promise<T>): Promise<T>
  /** To be called once what was read is out of the process' hands. Further calls do nothing. */
  leave(): void
}

export interface ReadingLines {
  /** Lists with all their items. */
  lists: Line
  /** Missed events, over HTTP and sockets. */
  replays: Line
}

const placesPerUser = 2
/** A client may ask for a hundred lists at once, as many as a socket follows. */
const waitingPerUser = 100
const maxWaiting = 1000
const waitMs = 10_000
const retryAfterSeconds = 2

export const createReadingLines = (): ReadingLines => ({ lists: createLine(4), replays: createLine(8) })

/** @param readsAtOnce of this instance */
export function createLine(readsAtOnce: number): Line {
  const users = createGate({
    total: Number.POSITIVE_INFINITY,
    perKey: placesPerUser,
    waitingPerKey: waitingPerUser,
  })
  // The last place is for another tenant.
  const reads = createGate({ total: readsAtOnce, perKey: readsAtOnce - 1, waitingPerKey: maxWaiting / 4 })

  const placeOf = ({ userId, tenantId }: Actor, gone: AbortSignal): Place => {
    let isHeld = true
    return {
      async read(work) {
        if (!reads.take(tenantId)) await reads.wait(tenantId, gone)
        try {
          return await work()
        } finally {
          reads.giveBack(tenantId)
        }
      },
      leave() {
        if (isHeld) users.giveBack(userId)
        isHeld = false
      },
    }
  }

  return {
    async enter(actor, gone) {
      if (!users.take(actor.userId)) await users.wait(actor.userId, gone)
      return placeOf(actor, gone)
    },
    enterNow: (actor, gone) => (users.take(actor.userId) ? placeOf(actor, gone) : null),
    counts() {
      const [held, reading] = [users.counts(), reads.counts()]
      return {
        held: held.held,
        waiting: held.waiting + reading.waiting,
        refused: held.refused + reading.refused,
      }
    },
  }
}

interface Key {
  held: number
  /** In the order in which they came; called with whether they have a place now. */
  readonly waiting: Set<(isServed: boolean) => void>
}

/** Places by key. Keys that wait take turns, and the callers of one key come in their order. */
function createGate(limits: { total: number; perKey: number; waitingPerKey: number }) {
  const keys = new Map<string, Key>()
  /** Those with somebody waiting; the one that was served last comes last. */
  const line = new Set<string>()
  const counts = { held: 0, waiting: 0, refused: 0 }

  const keyOf = (name: string): Key => {
    const key = keys.get(name) ?? { held: 0, waiting: new Set() }
    keys.set(name, key)
    return key
  }

  const forgetUnused = (name: string): void => {
    // Looked up: somebody may have come since the caller's was forgotten.
    const key = keyOf(name)
    if (key.waiting.size > 0) return
    line.delete(name)
    if (key.held === 0) keys.delete(name)
  }

  const hold = (key: Key): boolean => {
    if (counts.held >= limits.total || key.held >= limits.perKey) return false
    key.held += 1
    counts.held += 1
    return true
  }

  const serveNext = (): void => {
    for (const name of line) {
      const key = keyOf(name)
      const [settle] = key.waiting
      if (!settle || !hold(key)) continue
      line.delete(name)
      line.add(name)
      settle(true)
      return
    }
  }

  return {
    /** Whether there was a free place, which is then the caller's. Nobody who could have it can be waiting. */
    take: (name: string): boolean => hold(keyOf(name)),
    /** @throws AppError busy */
    async wait(name: string, gone: AbortSignal): Promise<void> {
      const key = keyOf(name)
      const isFull = counts.waiting >= maxWaiting || key.waiting.size >= limits.waitingPerKey
      const isServed = !isFull && !gone.aborted && (await settled(name, key, gone))
      forgetUnused(name)
      if (isServed) return
      counts.refused += 1
      throw new AppError('busy', 'Too much is being read at once. Try again in a moment.', {
        retryAfterSeconds,
      })
    },
    giveBack(name: string): void {
      const key = keyOf(name)
      key.held -= 1
      counts.held -= 1
      serveNext()
      forgetUnused(name)
    },
    counts: (): Readonly<typeof counts> => counts,
  }

  function settled(name: string, key: Key, gone: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (isServed: boolean): void => {
        // At once: whoever gives a place back next must not find somebody who has left.
        if (!key.waiting.delete(settle)) return
        counts.waiting -= 1
        clearTimeout(timer)
        gone.removeEventListener('abort', giveUp)
        resolve(isServed)
      }
      const giveUp = (): void => settle(false)
      const timer = setTimeout(giveUp, waitMs)
      gone.addEventListener('abort', giveUp)
      key.waiting.add(settle)
      line.add(name)
      counts.waiting += 1
    })
  }
}
