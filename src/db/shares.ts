/**
 * Shares of the database's queue: whoever makes many calls at once takes up part of it, not all. Whom a call is made
 * for follows the work through its awaits and timers, so nothing has to pass it along.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { DatabaseAdapter } from './database.ts'
import { databaseBusy } from './errors.ts'

export interface CallLimits {
  /** Calls at a time, those that wait included. */
  total: number
  /** Of them, for one user. */
  perUser: number
  /** Of them, for all requests without a user together. */
  unsigned: number
}

export const callLimits: CallLimits = { total: 1000, perUser: 100, unsigned: 200 }

/** `userId` is null until, and unless, the request's user is known. */
interface Caller {
  userId: string | null
}

const context = new AsyncLocalStorage<Caller | null>()

/** Wraps the handling of a request, whose user is not known yet. */
export const aroundRequest =
  <Given extends unknown[], Answer>(handle: (...given: Given) => Answer) =>
  (...given: Given): Answer =>
    context.run({ userId: null }, () => handle(...given))

/** From now on the current request is this user's. */
export function nameCaller(userId: string): void {
  const caller = context.getStore()
  if (caller) caller.userId = userId
}

export const forUser = <T>(userId: string, work: () => T): T => context.run({ userId }, work)

/** Runs `work` for the service itself, though a request has started it. */
export const forService = <T>(work: () => T): T => context.run(null, work)

export type SharedDatabase<Adapter = DatabaseAdapter> = Adapter & {
  /** In progress, the waiting ones included. */
  calls(): number
}

/** Refuses calls past the limits with AppError `busy`. Urgent reads are not counted. */
export function shareCalls<Adapter extends DatabaseAdapter>(
  db: Adapter,
  limits = callLimits,
): SharedDatabase<Adapter> {
  const perCaller = new Map<string | null, number>()
  let calls = 0

  const counted = async <T>(call: () => Promise<T>): Promise<T> => {
    const caller = context.getStore()
    const key = caller?.userId ?? null
    const held = perCaller.get(key) ?? 0
    if (calls >= limits.total || (caller && held >= (key === null ? limits.unsigned : limits.perUser)))
      throw databaseBusy()
    calls += 1
    if (caller) perCaller.set(key, held + 1)
    try {
      return await call()
    } finally {
      calls -= 1
      if (caller) release(perCaller, key)
    }
  }

  return {
    ...db,
    read: (scope, statement) => counted(() => db.read(scope, statement)),
    write: (scope, ...statements) => counted(() => db.write(scope, ...statements)),
    transaction: (scope, work, kind) => counted(() => db.transaction(scope, work, kind)),
    calls: () => calls,
  }
}

function release(perCaller: Map<string | null, number>, key: string | null): void {
  const left = (perCaller.get(key) ?? 0) - 1
  if (left > 0) perCaller.set(key, left)
  else perCaller.delete(key)
}
