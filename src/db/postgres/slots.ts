/** The live connections of a pool, opened when needed and replaced when lost. */
import { databaseUnavailable } from '../errors.ts'
import { type Connection, openConnection } from './connection.ts'
import type { ConnectionOptions } from './driver.ts'

export interface Pool {
  /** Live connections. */
  readonly size: number
  /** Calls that wait for a connection. */
  readonly waiting: number
  end(timeoutSeconds: number): Promise<void>
}

/** Connecting is not tried again for this long after it failed. */
const coolDownMs = 100
const retireTimeoutSeconds = 10

export type Slots = ReturnType<typeof createSlots>

export function createSlots(options: ConnectionOptions, maxSize: number) {
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
    /** Lets connections opened before this performance.now() finish what they carry, and counts them no longer. */
    retireBefore: (time: number): void => {
      const retired = live().filter(({ openedAt }) => openedAt < time)
      connections = connections.filter((connection) => !retired.includes(connection))
      for (const connection of retired) connection.end(retireTimeoutSeconds).catch(() => connection.destroy())
    },
    end: async (timeoutSeconds: number): Promise<void> => {
      await Promise.all(live().map((connection) => connection.end(timeoutSeconds)))
    },
  }
}
