/**
 * Decides which call goes over which of a few pipelining connections, and which waits in the process. What waits here
 * can be overtaken and given up; what has been sent can be neither, and holds up whatever is sent after it. So
 *   - a connection carries few calls, and none is added while it makes no progress;
 *   - calls that lock the same row share a connection, two at a time: more would only wait there for each other;
 *   - a tenant never holds all connections, and of those who wait the one with the least under way goes first.
 * Whatever one tenant's calls wait for, another's find a connection.
 */
import pTimeout from 'p-timeout'
import { databaseBusy, databaseClosing, databaseTimedOut } from '../errors.ts'
import type { Connection } from './connection.ts'
import type { ConnectionOptions } from './driver.ts'
import { createSlots, type Pool } from './slots.ts'

export interface SchedulerOptions {
  connection: ConnectionOptions
  maxConnections: number
  /** Whether tenants never share a connection: where one's call may wait for a lock, so would another's behind it. */
  apart: boolean
}

export interface ScheduledCall {
  /** Or the name of a scope beyond tenants. */
  tenant: string
  /** The id of the row that the call locks first. */
  row: string | null
  /** Waiting included. */
  timeoutMs: number
  /** performance.now(); older connections are retired, because others of their age were lost */
  connectedSince?: number
}

export interface Scheduler extends Pool {
  /**
   * @param send called once, as soon as there is a place
   * @throws AppError `database_unavailable` after the timeout, and where connecting has just failed and no connection
   *   is left; `busy` where too many wait for the same row
   */
  run<T>(call: ScheduledCall, send: (connection: Connection) => Promise<T>): Promise<T>
}

interface Job extends ScheduledCall {
  start(connection: Connection): void
  reject(error: unknown): void
  /** Null while it waits. */
  connection: Connection | null
  isGivenUp: boolean
}

const maxWaitingPerRow = 200
const retireTimeoutSeconds = 10

export function createScheduler(options: SchedulerOptions): Scheduler {
  const slots = createSlots(options.connection, options.maxConnections)
  const loads = createLoads()
  const waiting: Job[] = []
  const dequeue = (job: Job): void => void waiting.splice(waiting.indexOf(job), 1)

  const begin = (job: Job, connection: Connection): void => {
    job.connection = connection
    loads.add(connection, job)
    job.start(connection)
  }

  const beginWaiting = (): void => {
    const blocked = new Set<string>()
    for (;;) {
      const job = loads.mostDeserving(waiting, blocked)
      if (job === undefined) return
      try {
        const place = findPlace(slots, loads, options, job)
        if ('blocked' in place) blocked.add(place.blocked)
        else {
          dequeue(job)
          begin(job, place.connection)
        }
      } catch (error) {
        dequeue(job)
        job.reject(error)
      }
    }
  }

  const beginOrWait = (job: Job): void => {
    const ahead = job.row === null ? 0 : waiting.filter(({ row }) => row === job.row).length
    const place = ahead === 0 ? findPlace(slots, loads, options, job) : null
    if (place && 'connection' in place) begin(job, place.connection)
    else if (ahead >= maxWaitingPerRow) throw databaseBusy()
    else waiting.push(job)
  }

  /** What was sent cannot be taken back, and others may wait behind it; once nobody does, the connection is cut. */
  const giveUp = (job: Job): void => {
    job.isGivenUp = true
    if (job.connection === null) dequeue(job)
    else if (loads.of(job.connection).every(({ isGivenUp }) => isGivenUp)) job.connection.destroy()
  }

  const retireBefore = (connectedSince: number): void => {
    for (const connection of slots.live()) {
      if (connection.openedAt >= connectedSince) continue
      slots.remove(connection)
      connection.end(retireTimeoutSeconds).catch(() => connection.destroy())
    }
  }

  return {
    get size() {
      return slots.live().length
    },
    get waiting() {
      return waiting.length
    },
    run: async <T>(call: ScheduledCall, send: (connection: Connection) => Promise<T>) => {
      const { promise, resolve, reject } = Promise.withResolvers<T>()
      const start = (connection: Connection): void => {
        void send(connection)
          .then(resolve, reject)
          .finally(() => {
            loads.remove(connection, job)
            beginWaiting()
          })
      }
      const job: Job = { ...call, start, reject, connection: null, isGivenUp: false }
      if (call.connectedSince !== undefined) retireBefore(call.connectedSince)
      beginOrWait(job)
      const fallback = (): never => {
        giveUp(job)
        throw databaseTimedOut()
      }
      return await pTimeout(promise, { milliseconds: call.timeoutMs, fallback })
    },
    end: async (timeoutSeconds) => {
      for (const job of waiting.splice(0)) job.reject(databaseClosing())
      await slots.end(timeoutSeconds)
    },
  }
}

/** Calls of a connection at a time: enough to hide the way to the server and back. */
const maxJobs = 4
const maxJobsPerRow = 2
/** A connection without an answer for this long gets no further calls. */
const stalledMs = 50

type Loads = ReturnType<typeof createLoads>

/** What each connection carries. */
function createLoads() {
  const loads = new WeakMap<Connection, { jobs: readonly Job[]; progressAt: number }>()
  const perTenant = new Map<string, number>()
  const of = (connection: Connection): readonly Job[] => loads.get(connection)?.jobs ?? []
  const count = (tenant: string, change: 1 | -1): void => {
    const jobs = (perTenant.get(tenant) ?? 0) + change
    if (jobs > 0) perTenant.set(tenant, jobs)
    else perTenant.delete(tenant)
  }
  return {
    of,
    add: (connection: Connection, job: Job): void => {
      const before = loads.get(connection)
      const isIdle = before === undefined || before.jobs.length === 0
      const progressAt = isIdle ? performance.now() : before.progressAt
      loads.set(connection, { jobs: [...of(connection), job], progressAt })
      count(job.tenant, 1)
    },
    remove: (connection: Connection, job: Job): void => {
      const jobs = of(connection).filter((other) => other !== job)
      loads.set(connection, { jobs, progressAt: performance.now() })
      count(job.tenant, -1)
    },
    isStalled: (connection: Connection): boolean => {
      const load = loads.get(connection)
      return load !== undefined && load.jobs.length > 0 && performance.now() - load.progressAt > stalledMs
    },
    /** The longest waiting of those whose tenant has the fewest under way. */
    mostDeserving: (waiting: readonly Job[], blocked: ReadonlySet<string>): Job | undefined => {
      let best: Job | undefined
      let fewest = Number.POSITIVE_INFINITY
      for (const job of waiting) {
        const jobs = perTenant.get(job.tenant) ?? 0
        if (jobs >= fewest || blocked.has(job.tenant) || (job.row !== null && blocked.has(job.row))) continue
        best = job
        fewest = jobs
      }
      return best
    },
  }
}

/** A connection, or who has to wait until an answer arrives: all who lock the same row, or the whole tenant. */
type Place = { connection: Connection } | { blocked: string }

/** @throws AppError `database_unavailable` where connecting has just failed and no connection is left */
function findPlace(
  slots: ReturnType<typeof createSlots>,
  loads: Loads,
  { maxConnections, apart }: SchedulerOptions,
  { tenant, row }: Job,
): Place {
  const live = slots.live()
  const isTenants = (job: Job): boolean => job.tenant === tenant
  const hasRoom = (connection: Connection): boolean => {
    const jobs = loads.of(connection)
    return (
      jobs.length < maxJobs && !loads.isStalled(connection) && (!apart || jobs.every((job) => isTenants(job)))
    )
  }
  if (row !== null) {
    const holder = live.find((connection) => loads.of(connection).some((job) => job.row === row))
    if (holder) {
      const held = loads.of(holder).filter((job) => job.row === row).length
      return held < maxJobsPerRow && hasRoom(holder) ? { connection: holder } : { blocked: row }
    }
  }
  const held = live.filter((connection) => loads.of(connection).some(isTenants))
  const mayTakeMore = held.length < Math.max(1, maxConnections - 1)
  const candidates = (mayTakeMore ? live : held).filter(hasRoom)
  const [first, ...others] = candidates
  const best =
    first &&
    others.reduce((least, other) => (loads.of(other).length < loads.of(least).length ? other : least), first)
  if (best && loads.of(best).length === 0) return { connection: best }
  if (live.length === 0 || (mayTakeMore && slots.mayOpen())) return { connection: slots.open() }
  return best ? { connection: best } : { blocked: tenant }
}
