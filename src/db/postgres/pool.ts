/**
 * Two pools of connections, opened when needed and replaced when lost: a shared one, whose connections carry the
 * statements of many callers at once, and a leasing one, whose connections belong to one caller at a time.
 */
import { databaseBusy, databaseUnavailable } from '../errors.ts'
import { type Connection, openConnection } from './connection.ts'
import type { ConnectionOptions } from './driver.ts'

interface Pool {
  /** Live connections. */
  readonly size: number
  end(timeoutSeconds: number): Promise<void>
}

export interface SharedPool extends Pool {
  /**
   * @param connectedSince performance.now(); older connections are retired, because others of their age were lost
   * @throws AppError `database_unavailable` where connecting has just failed and no connection is left
   */
  leastLoaded(connectedSince?: number): Connection
}

export interface LeasePool extends Pool {
  /**
   * A connection for this caller alone, first come, first served.
   * @throws AppError `busy` when `maxWaiting` callers wait already; the signal's reason when it aborts the wait
   */
  lease(signal: AbortSignal): Promise<Connection>
  /** Releasing a lease again has no effect. */
  release(connection: Connection): void
  readonly waiting: number
}

const retireTimeoutSeconds = 10

export function createSharedPool(options: ConnectionOptions, maxSize: number): SharedPool {
  const slots = createSlots(options, maxSize)
  /** Removes it from the pool and lets what is outstanding finish. */
  const retire = (connection: Connection): void => {
    slots.remove(connection)
    connection.end(retireTimeoutSeconds).catch(() => connection.destroy())
  }
  return {
    get size() {
      return slots.live().length
    },
    leastLoaded: (connectedSince = 0) => {
      for (const connection of slots.live()) if (connection.openedAt < connectedSince) retire(connection)
      const [first, ...others] = slots.live()
      if (first === undefined) return slots.open()
      const best = others.reduce(
        (least, connection) => (connection.outstanding < least.outstanding ? connection : least),
        first,
      )
      return best.outstanding > 0 && slots.mayOpen() ? slots.open() : best
    },
    end: slots.end,
  }
}

interface Waiter {
  resolve(connection: Connection): void
  reject(error: unknown): void
}

export function createLeasePool(options: ConnectionOptions, maxSize: number, maxWaiting: number): LeasePool {
  const slots = createSlots(options, maxSize)
  const leased = new Set<Connection>()
  const waiting: Waiter[] = []
  const free = (): Connection | undefined => {
    const idle = slots.live().find((connection) => !leased.has(connection))
    return idle ?? (slots.live().length < maxSize ? slots.open() : undefined)
  }
  return {
    get size() {
      return slots.live().length
    },
    get waiting() {
      return waiting.length
    },
    lease: async (signal) => {
      const connection = free()
      if (connection !== undefined) {
        leased.add(connection)
        return connection
      }
      if (waiting.length >= maxWaiting) throw databaseBusy()
      return await enqueue(waiting, signal)
    },
    release: (connection) => {
      if (!leased.delete(connection)) return
      const next = waiting.shift()
      if (next === undefined) return
      try {
        const successor = free() ?? slots.open()
        leased.add(successor)
        next.resolve(successor)
      } catch (error) {
        next.reject(error)
      }
    },
    end: slots.end,
  }
}

const enqueue = (waiting: Waiter[], signal: AbortSignal): Promise<Connection> =>
  new Promise((resolve, reject) => {
    const waiter = { resolve, reject }
    waiting.push(waiter)
    signal.addEventListener('abort', () => {
      const index = waiting.indexOf(waiter)
      if (index >= 0) waiting.splice(index, 1)
      reject(signal.reason)
    })
  })

/** Connecting is not tried again for this long after it failed. */
const coolDownMs = 100

/** The live connections of a pool. */
function createSlots(options: ConnectionOptions, maxSize: number) {
  let connections: Connection[] = []
  let coolDownEndsAt = 0
  const isCoolingDown = (): boolean => performance.now() < coolDownEndsAt
  const live = (): readonly Connection[] => {
    connections = connections.filter(({ alive }) => alive)
    return connections
  }
  return {
    live,
    mayOpen: (): boolean => live().length < maxSize && !isCoolingDown(),
    /** @throws AppError `database_unavailable` while cooling down */
    open: (): Connection => {
      if (isCoolingDown()) throw databaseUnavailable('The database cannot be reached.')
      const connection = openConnection(options, () => {
        coolDownEndsAt = performance.now() + coolDownMs
      })
      connections.push(connection)
      return connection
    },
    remove: (connection: Connection): void => {
      connections = connections.filter((other) => other !== connection)
    },
    end: async (timeoutSeconds: number): Promise<void> => {
      await Promise.all(live().map((connection) => connection.end(timeoutSeconds)))
    },
  }
}
