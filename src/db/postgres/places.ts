/** Which connection a call may go over, by the rules of scheduler.ts. */
import type { Connection } from './connection.ts'
import type { Slots } from './slots.ts'

/** A call that is scheduled. */
export interface Job {
  readonly kind: 'read' | 'write'
  readonly tenant: string
  /** What waits for the same: one kind of one tenant's calls. */
  readonly line: string
  row: string | null
  findRow: (() => Promise<string>) | undefined
  isPatient: boolean
  /** Null while it waits. */
  connection: Connection | null
  isGivenUp: boolean
  /** Never rejects. @returns whether it found a lock taken and has to be sent again */
  send(connection: Connection): Promise<boolean>
  reject(error: unknown): void
}

/** Calls of a connection at a time: enough to hide the way to the server and back. */
const maxJobs = 8
const maxJobsPerRow = 2
/** A connection without an answer for this long gets no further calls. */
const stalledMs = 50

type Loads = ReturnType<typeof createLoads>

/** What each connection carries. */
export function createLoads() {
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
        if (jobs >= fewest || blocked.has(job.line) || (job.row !== null && blocked.has(job.row))) continue
        best = job
        fewest = jobs
      }
      return best
    },
  }
}

/** A connection; or who has to wait until an answer arrives: those who lock the same row, or all of the same line. */
type Place = { connection: Connection } | { blocked: string }

/** @returns finds a place; throws AppError `database_unavailable` where connecting has just failed and none is left */
export function createPlaces(slots: Slots, loads: Loads, maxConnections: number) {
  const limits = {
    perKind: Math.max(1, maxConnections - 2),
    perTenant: Math.max(1, maxConnections - 2),
    perLine: Math.max(1, maxConnections - 3),
  }

  // One loop, since it runs for every call, and again for those that wait.
  return (job: Job): Place => {
    const live = slots.live()
    const held = { kind: 0, tenant: 0, line: 0 }
    let idle: Connection | null = null
    let best = nowhere
    let bestOfLine = nowhere
    for (const connection of live) {
      const jobs = loads.of(connection)
      if (jobs.length === 0) {
        idle = connection
        continue
      }
      const { ofKind, ofTenant, ofLine, ofRow, mayGoBehind } = compare(job, jobs)
      const hasRoom = mayGoBehind && jobs.length < maxJobs && !loads.isStalled(connection)
      if (job.row !== null && ofRow > 0)
        return hasRoom && ofRow < maxJobsPerRow ? { connection } : { blocked: job.row }
      if (ofKind) held.kind += 1
      if (ofTenant) held.tenant += 1
      if (ofLine) held.line += 1
      if (hasRoom && jobs.length < best.jobs) best = { connection, jobs: jobs.length }
      if (hasRoom && ofLine && jobs.length < bestOfLine.jobs) bestOfLine = { connection, jobs: jobs.length }
    }
    const mayTakeMore =
      held.line < limits.perLine && held.kind < limits.perKind && held.tenant < limits.perTenant
    if (idle && mayTakeMore) return { connection: idle }
    if (live.length === 0 || (mayTakeMore && slots.mayOpen())) return { connection: slots.open() }
    const { connection } = mayTakeMore ? best : bestOfLine
    return connection ? { connection } : { blocked: job.line }
  }
}

/** The connection with the fewest jobs, where none has been found yet. */
const nowhere: { connection: Connection | null; jobs: number } = {
  connection: null,
  jobs: Number.POSITIVE_INFINITY,
}

/** How a call relates to those that a connection carries. */
function compare(job: Job, carried: readonly Job[]) {
  const found = { ofKind: false, ofTenant: false, ofLine: false, ofRow: 0, mayGoBehind: true }
  for (const { kind, tenant, row, isPatient } of carried) {
    const isSameRow = row !== null && row === job.row
    if (isSameRow) found.ofRow += 1
    if (kind === job.kind) found.ofKind = true
    else found.mayGoBehind = false
    if (tenant === job.tenant) found.ofTenant = true
    else if (job.kind === 'write') found.mayGoBehind = false
    if (kind === job.kind && tenant === job.tenant) found.ofLine = true
    if (isPatient && !isSameRow) found.mayGoBehind = false
  }
  return found
}
