/** Connections that belong to one caller at a time, for interactive transactions. */
import type { Connection } from './connection.ts'
import type { ConnectionOptions } from './driver.ts'
import { createSlots, type Pool } from './slots.ts'

export interface LeasePool extends Pool {
  /**
   * A connection for this caller alone, first come, first served.
   * @throws the signal's reason when it aborts the wait
   */
  lease(signal: AbortSignal): Promise<Connection>
  /** Releasing a lease again has no effect. */
  release(connection: Connection): void
}

interface Waiter {
  resolve(connection: Connection): void
  reject(error: unknown): void
}

export function createLeasePool(options: ConnectionOptions, maxSize: number): LeasePool {
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
      if (connection === undefined) return await enqueue(waiting, signal)
      leased.add(connection)
      return connection
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
