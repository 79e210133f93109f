/**
 * A fixed number of places for lanes, filled when needed and refilled when a lane is lost. Taken in turn with other
 * calls (`leastLoaded`) or alone (`lease`).
 */
import { databaseBusy, databaseUnavailable } from '../errors.ts'
import { type Lane, type LaneOptions, openLane } from './connection.ts'

export interface LanePool {
  readonly lanes: readonly Lane[]
  /**
   * @param connectedSince a time (performance.now) before which no lane will do, because others of then were lost
   * @throws AppError `database_unavailable` where connecting has just failed and no lane is left
   */
  leastLoaded(connectedSince?: number): Lane
  /**
   * A lane for this caller alone, in order of asking.
   * @throws AppError `busy` when `maxWaiting` callers wait already
   */
  lease(signal: AbortSignal): Promise<Lane>
  /** May be called again for the same lease without effect. */
  giveBack(lane: Lane): void
  readonly waiting: number
  end(timeoutSeconds: number): Promise<void>
}

interface Waiter {
  resolve(lane: Lane): void
  reject(error: unknown): void
}

/** How long after a failed attempt to connect no other is made. */
const coolDownMs = 100
const retireTimeoutSeconds = 10

export function createLanePool(options: LaneOptions, size: number, maxWaiting: number): LanePool {
  let lanes: Lane[] = []
  let noAttemptBefore = 0
  const leased = new Set<Lane>()
  const waiting: Waiter[] = []

  const living = (): Lane[] => {
    lanes = lanes.filter((lane) => lane.alive)
    return lanes
  }
  const open = (): Lane => {
    if (performance.now() < noAttemptBefore) throw databaseUnavailable('The database cannot be reached.')
    const lane = openLane(options, () => {
      noAttemptBefore = performance.now() + coolDownMs
    })
    lanes.push(lane)
    return lane
  }
  /** Takes it out of the pool; what is under way on it may finish. */
  const retire = (lane: Lane): void => {
    lanes = lanes.filter((other) => other !== lane)
    lane.end(retireTimeoutSeconds).catch(() => lane.destroy())
  }
  const free = (): Lane | undefined => {
    const idle = living().find((lane) => !leased.has(lane))
    return idle ?? (lanes.length < size ? open() : undefined)
  }

  return {
    get lanes() {
      return living()
    },
    get waiting() {
      return waiting.length
    },
    leastLoaded: (connectedSince = 0) => {
      for (const lane of living()) if (lane.openedAt < connectedSince) retire(lane)
      const best = leastLoaded(living())
      if (best === undefined) return open()
      const mayOpen = lanes.length < size && performance.now() >= noAttemptBefore
      return best.outstanding > 0 && mayOpen ? open() : best
    },
    lease: async (signal) => {
      const lane = free()
      if (lane !== undefined) {
        leased.add(lane)
        return lane
      }
      if (waiting.length >= maxWaiting) throw databaseBusy()
      return new Promise((resolve, reject) => {
        const waiter = { resolve, reject }
        waiting.push(waiter)
        signal.addEventListener('abort', () => {
          const place = waiting.indexOf(waiter)
          if (place >= 0) waiting.splice(place, 1)
          reject(signal.reason)
        })
      })
    },
    giveBack: (lane) => {
      if (!leased.delete(lane)) return
      const next = waiting.shift()
      if (next === undefined) return
      try {
        const successor = free() ?? open()
        leased.add(successor)
        next.resolve(successor)
      } catch (error) {
        next.reject(error)
      }
    },
    end: async (timeoutSeconds) => {
      await Promise.all(living().map((lane) => lane.end(timeoutSeconds)))
    },
  }
}

const leastLoaded = (lanes: readonly Lane[]): Lane | undefined =>
  lanes.reduce<Lane | undefined>(
    (best, lane) => (best === undefined || lane.outstanding < best.outstanding ? lane : best),
    undefined,
  )
