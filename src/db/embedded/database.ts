/**
 * The Database in this process: PGlite, one session, calls one after the other. A statement cannot be interrupted,
 * so the deadline counts for waiting, and for interactive transactions as a whole. Inside one of these only its own
 * `query` may be used: another call of the Database would wait for it to end.
 */

import type { PGlite } from '@electric-sql/pglite'
import type { SQL } from 'drizzle-orm'
import pTimeout from 'p-timeout'
import type { MeasuredDatabase, Query, Scope, TransactionKind } from '../database.ts'
import { databaseTimedOut, databaseUnavailable } from '../errors.ts'
import { compileStatement } from '../statement.ts'
import { connectionTo } from './pglite.ts'
import { createEmbeddedQueue, type Job } from './queue.ts'
import { bringToRest, type Resting } from './quiesce.ts'
import { createEmbeddedSession, type WriteInBatch } from './session.ts'

export interface EmbeddedOptions {
  /** Open, migrated, and this database's own from now on. */
  pglite: PGlite
  deadlineMs: number
  /** Closes PGlite and lets go of its folder. */
  close: () => Promise<void>
}

export type EmbeddedDatabase = MeasuredDatabase & {
  /** Runs `work` while no statement does, so that the files stay as they are. Everybody waits: it must be short. */
  atRest<T>(work: (resting: Resting) => Promise<T>): Promise<T>
}

export async function createEmbeddedDatabase(options: EmbeddedOptions): Promise<EmbeddedDatabase> {
  const { pglite, deadlineMs } = options
  const session = await createEmbeddedSession(pglite)
  const queue = createEmbeddedQueue<WriteInBatch>(session.writeTogether)
  let calls = 0
  let closing: Promise<void> | undefined

  /** `begin` puts a job into the queue; `late` is called when the deadline passes while the job is running. */
  const call = async <T>(
    jobOf: (resolve: (value: T) => void, reject: (error: unknown) => void) => Job<WriteInBatch>,
    late: () => void = () => undefined,
  ): Promise<T> => {
    if (closing !== undefined) throw databaseUnavailable('The database is being closed.')
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const job = jobOf(resolve, reject)
    queue.add(job)
    calls += 1
    const fallback = (): never => {
      if (!queue.remove(job)) late()
      throw databaseTimedOut()
    }
    try {
      return await pTimeout(promise, { milliseconds: deadlineMs, fallback })
    } finally {
      calls -= 1
    }
  }

  return {
    kind: 'embedded',
    read: async <Row>(scope: Scope, statement: SQL<Row>) => {
      const compiled = compileStatement(statement)
      return await call<Row[]>((resolve, reject) => ({
        alone: () => session.read(scope, compiled).then((rows) => resolve(rows as Row[]), reject),
      }))
    },
    write: async <Row>(scope: Scope, ...statements: SQL[]) => {
      const compiled = statements.map(compileStatement)
      return await call<Row[]>((resolve, reject) => {
        const settle: WriteInBatch['settle'] = (outcome) =>
          'rows' in outcome ? resolve(outcome.rows as Row[]) : reject(outcome.error)
        return { write: { scope, statements: compiled, settle } }
      })
    },
    transaction: async <T>(scope: Scope, work: (query: Query) => Promise<T>, kind?: TransactionKind) => {
      const giveUp = new AbortController()
      return await call<T>(
        (resolve, reject) => ({
          alone: () => session.transaction(scope, work, giveUp.signal, kind).then(resolve, reject),
        }),
        () => giveUp.abort(databaseUnavailable('The transaction took too long.')),
      )
    },
    atRest: async <T>(work: (resting: Resting) => Promise<T>) => {
      if (closing !== undefined) throw databaseUnavailable('The database is being closed.')
      const { promise, resolve, reject } = Promise.withResolvers<T>()
      queue.add({ alone: () => bringToRest(connectionTo(pglite)).then(work).then(resolve, reject) })
      return await promise
    },
    stats: () => ({ connections: 1, connectionLimit: 1, calls, waiting: queue.length }),
    close: () => {
      closing ??= queue.drained().then(options.close)
      return closing
    },
  }
}
