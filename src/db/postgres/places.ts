/** Which connection a call may go over, by the rules of scheduler.ts. */
import type { Connection } from './connection.ts'
import type { Slots } from './slots.ts'

/** A call that is scheduled. */
export interface Job {
  readonly kind: 'read' | 'write'
  readonly tenant: string
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
        if (jobs >= fewest || blocked.has(lineOf(job)) || (job.row !== null && blocked.has(job.row))) continue
        best = job
        fewest = jobs
      }
      return best
    },
  }
}

/** A connection; or who has to wait until an answer arrives: those who lock the same row, or all of the same line. */
type Place = { connection: Connection } | { blocked: string }

/** What waits for the same: one kind of one tenant's calls. */
const lineOf = ({ kind, tenant }: Job): string => `${kind} ${tenant}`

/** @returns throws AppError `database_unavailable` where connecting has just failed and no connection is left */
export function createPlaces(slots: Slots, loads: Loads, maxConnections: number) {
  const limits = {
    perKind: Math.max(1, maxConnections - 2),
    perTenant: Math.max(1, maxConnections - 2),
    perLine: Math.max(1, maxConnections - 3),
  }
  const fewestJobs = (connections: Connection[]): Connection | undefined => {
    const [first, ...others] = connections
    if (first === undefined) return undefined
    return others.reduce(
      (least, other) => (loads.of(other).length < loads.of(least).length ? other : least),
      first,
    )
  }

  return (job: Job): Place => {
    const live = slots.live()
    const isOfKind = ({ kind }: Job): boolean => kind === job.kind
    const isOfTenant = ({ tenant }: Job): boolean => tenant === job.tenant
    const isOfRow = ({ row }: Job): boolean => row !== null && row === job.row
    const mayGoBehind = (other: Job): boolean =>
      isOfKind(other) && (job.kind === 'read' || isOfTenant(other)) && (!other.isPatient || isOfRow(other))
    const hasRoom = (connection: Connection): boolean => {
      const jobs = loads.of(connection)
      return jobs.length < maxJobs && jobs.every(mayGoBehind) && !loads.isStalled(connection)
    }
    const carrying = (which: (job: Job) => boolean): Connection[] =>
      live.filter((connection) => loads.of(connection).some(which))

    const [holder] = carrying(isOfRow)
    if (holder && job.row !== null)
      return loads.of(holder).filter(isOfRow).length < maxJobsPerRow && hasRoom(holder)
        ? { connection: holder }
        : { blocked: job.row }
    const ofLine = carrying((other) => isOfKind(other) && isOfTenant(other))
    const mayTakeMore =
      ofLine.length < limits.perLine &&
      carrying(isOfKind).length < limits.perKind &&
      carrying(isOfTenant).length < limits.perTenant
    const best = fewestJobs((mayTakeMore ? live : ofLine).filter(hasRoom))
    if (best && loads.of(best).length === 0) return { connection: best }
    if (live.length === 0 || (mayTakeMore && slots.mayOpen())) return { connection: slots.open() }
    return best ? { connection: best } : { blocked: lineOf(job) }
  }
}
