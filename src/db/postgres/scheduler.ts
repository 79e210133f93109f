/**
 * Decides which call goes over which of a few pipelining connections, and which waits in the process. What waits here
 * can be overtaken and given up; what has been sent can be neither, and holds up whatever is sent after it. So
 *   - a connection carries few calls at a time, and none is added while it makes no progress;
 *   - what may wait for a lock, a write, shares its connection with no read and with no other tenant's write;
 *   - writes that lock the same row share a connection, two at a time: more would only wait there for each other;
 *   - neither reads nor writes nor one tenant's calls hold all connections;
 *   - of those who wait the tenant with the least under way goes first.
 * Whatever one tenant's calls wait for, another's find a connection.
 */
import pTimeout from 'p-timeout'
import type { LockedRow } from '../database.ts'
import { databaseBusy, databaseClosing, databaseTimedOut, isLockTimeout } from '../errors.ts'
import type { Connection } from './connection.ts'
import type { ConnectionOptions } from './driver.ts'
import { createLoads, createPlaces, type Job } from './places.ts'
import { createSlots, type Pool } from './slots.ts'

export interface ScheduledCall {
  kind: 'read' | 'write'
  /** Or the name of a scope beyond tenants. */
  tenant: string
  /** What a write locks first. */
  row: LockedRow | null
  /** Waiting included. */
  timeoutMs: number
}

export interface Scheduler extends Pool {
  /**
   * @param send called as soon as there is a place; and again, with patience, where it has failed because it found a lock
   *   taken. A patient call may wait for it: nothing is sent behind that but what locks the same row.
   * @throws AppError `database_unavailable` after the timeout, and where connecting has just failed and no connection
   *   is left; `busy` where too many wait for the same row
   */
  run<T>(call: ScheduledCall, send: (connection: Connection, isPatient: boolean) => Promise<T>): Promise<T>
  /** Lets connections that were opened before this performance.now() finish: others of their age were lost. */
  retireBefore(time: number): void
}

const maxWaitingPerRow = 200

export function createScheduler(options: ConnectionOptions, maxConnections: number): Scheduler {
  const slots = createSlots(options, maxConnections)
  const loads = createLoads()
  const findPlace = createPlaces(slots, loads, maxConnections)
  const waiting: Job[] = []
  const dequeue = (job: Job): void => {
    const index = waiting.indexOf(job)
    if (index >= 0) waiting.splice(index, 1)
  }

  const begin = async (job: Job, connection: Connection): Promise<void> => {
    job.connection = connection
    loads.add(connection, job)
    const isLocked = await job.send(connection)
    loads.remove(connection, job)
    job.connection = null
    if (isLocked) await beginAgain(job)
    beginWaiting()
  }

  const beginAgain = async (job: Job): Promise<void> => {
    job.isPatient = true
    if (job.findRow) {
      beginWaiting()
      try {
        job.row = await job.findRow()
      } catch (error) {
        return job.reject(error)
      }
    }
    // The first of all, since those who wait came later.
    if (!job.isGivenUp) waiting.unshift(job)
  }

  const beginWaiting = (): void => {
    const blocked = new Set<string>()
    for (;;) {
      const job = loads.mostDeserving(waiting, blocked)
      if (job === undefined) return
      try {
        const place = findPlace(job)
        if ('blocked' in place) blocked.add(place.blocked)
        else {
          dequeue(job)
          void begin(job, place.connection)
        }
      } catch (error) {
        dequeue(job)
        job.reject(error)
      }
    }
  }

  const beginOrWait = (job: Job): void => {
    const ahead = job.row === null ? 0 : waiting.filter(({ row }) => row === job.row).length
    const place = ahead === 0 ? findPlace(job) : null
    if (place && 'connection' in place) void begin(job, place.connection)
    else if (ahead >= maxWaitingPerRow) throw databaseBusy()
    else waiting.push(job)
  }

  /** What was sent cannot be taken back, and others may wait behind it; once nobody does, the connection is cut. */
  const giveUp = (job: Job): void => {
    job.isGivenUp = true
    if (job.connection === null) dequeue(job)
    else if (loads.of(job.connection).every(({ isGivenUp }) => isGivenUp)) job.connection.destroy()
  }

  return {
    get size() {
      return slots.live().length
    },
    get waiting() {
      return waiting.length
    },
    run: async (call, send) => {
      const { job, promise } = createJob(call, send)
      beginOrWait(job)
      const fallback = (): never => {
        giveUp(job)
        throw databaseTimedOut()
      }
      return await pTimeout(promise, { milliseconds: call.timeoutMs, fallback })
    },
    retireBefore: slots.retireBefore,
    end: async (timeoutSeconds) => {
      for (const job of waiting.splice(0)) job.reject(databaseClosing())
      await slots.end(timeoutSeconds)
    },
  }
}

function createJob<T>(
  { kind, tenant, row }: ScheduledCall,
  send: (connection: Connection, isPatient: boolean) => Promise<T>,
): { job: Job; promise: Promise<T> } {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const job: Job = {
    kind,
    tenant,
    line: `${kind} ${tenant}`,
    row: row?.name ?? null,
    findRow: row?.find,
    isPatient: false,
    connection: null,
    isGivenUp: false,
    reject,
    send: async (connection) => {
      try {
        resolve(await send(connection, job.isPatient))
      } catch (error) {
        if (!job.isPatient && isLockTimeout(error)) return true
        reject(error)
      }
      return false
    },
  }
  return { job, promise }
}
