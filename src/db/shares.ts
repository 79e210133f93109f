/**
 * Shares of the database's queue: whoever makes many calls at once takes up part of it, not all. Whom a call is made
 * for follows the work through its awaits and timers, so nothing has to pass it along.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { DatabaseAdapter } from './database.ts'
import { databaseBusy } from './errors.ts'

/** Calls in progress, those that wait included. */
export const callLimits = {
  total: 1000,
  perUser: 100,
  /** For all requests without a user together. */
  unsigned: 200,
}

interface Caller {
  /** Null until, and unless, the request's user is known. */
  userId: string | null
  /** Whether calls past the share wait, rather than being refused. */
  readonly isPatient: boolean
}

const context = new AsyncLocalStorage<Caller | null>()

/** Wraps the handling of a request, whose user is not known yet. */
export const aroundRequest =
  <Given extends unknown[], Answer>(handle: (...given: Given) => Answer) =>
  (...given: Given): Answer =>
    context.run({ userId: null, isPatient: false }, () => handle(...given))

/** From now on the current request is this user's. */
export function nameCaller(userId: string): void {
  const caller = context.getStore()
  if (caller) caller.userId = userId
}

/** Runs `work` for a socket of this user: its messages wait for each other anyway, and nobody repeats a refused one. */
export const forSocketOf = <T>(userId: string, work: () => T): T =>
  context.run({ userId, isPatient: true }, work)

/** Runs `work` for the service itself, though a request has started it. */
export const forService = <T>(work: () => T): T => context.run(null, work)

export type SharedDatabase<Adapter = DatabaseAdapter> = Adapter & {
  /** In progress, the waiting ones included. */
  calls(): number
}

/** Refuses calls past the limits with AppError `busy`. Urgent reads are not counted. */
export function shareCalls<Adapter extends DatabaseAdapter>(db: Adapter): SharedDatabase<Adapter> {
  const shares = createShares()
  let calls = 0

  const counted = <T>(call: () => Promise<T>): Promise<T> =>
    shares.run(context.getStore() ?? null, async () => {
      if (calls >= callLimits.total) throw databaseBusy()
      calls += 1
      try {
        return await call()
      } finally {
        calls -= 1
      }
    })

  return {
    ...db,
    read: (scope, statement) => counted(() => db.read(scope, statement)),
    write: (scope, ...statements) => counted(() => db.write(scope, ...statements)),
    transaction: (scope, work, kind) => counted(() => db.transaction(scope, work, kind)),
    calls: () => calls,
  }
}

function createShares() {
  const shares = new Map<string | null, { held: number; waiting: (() => void)[] }>()

  /** @returns what to wait for; null once it is taken */
  const take = ({ isPatient }: Caller, userId: string | null): Promise<void> | null => {
    const share = shares.get(userId) ?? { held: 0, waiting: [] }
    shares.set(userId, share)
    if (share.held < (userId === null ? callLimits.unsigned : callLimits.perUser)) {
      share.held += 1
      return null
    }
    if (!isPatient) throw databaseBusy()
    return new Promise((resolve) => share.waiting.push(resolve))
  }

  const giveBack = (userId: string | null): void => {
    const share = shares.get(userId)
    if (share === undefined) return
    const next = share.waiting.shift()
    // Its place goes to whoever waits.
    if (next) next()
    else if (share.held > 1) share.held -= 1
    else shares.delete(userId)
  }

  return {
    /** @param caller null for the service itself, which has no share */
    run: async <T>(caller: Caller | null, call: () => Promise<T>): Promise<T> => {
      if (caller === null) return await call()
      // Later it may be another: a request gets its user on the way.
      const { userId } = caller
      const wait = take(caller, userId)
      if (wait) await wait
      try {
        return await call()
      } finally {
        giveBack(userId)
      }
    },
  }
}
