/**
 * The Database in this process: PGlite, with one session that runs one call at a time. A statement cannot be
 * interrupted, so the deadline applies to waiting, and to an interactive transaction as a whole. Inside one, only its
 * own `query` may be used: another call of the Database would wait for it to end.
 */

import type { PGlite } from '@electric-sql/pglite'
import type { SQL } from 'drizzle-orm'
import pTimeout from 'p-timeout'
import type { DatabaseAdapter, Query, Scope, TransactionKind } from '../database.ts'
import { databaseClosing, databaseTimedOut, databaseUnavailable } from '../errors.ts'
import { compileStatement } from '../statement.ts'
import { maintenanceDue } from './maintenance.ts'
import { connectionTo } from './pglite.ts'
import { createEmbeddedQueue, type EmbeddedQueue, type Job } from './queue.ts'
import { type Checkpoint, makeCheckpoint } from './quiesce.ts'
import { createEmbeddedSession, type WriteInBatch } from './session.ts'

export interface EmbeddedOptions {
  /** Open, migrated, and used by nobody else from now on. */
  pglite: PGlite
  deadlineMs: number
  /** Closes PGlite and releases its folder. */
  close: () => Promise<void>
}

export interface EmbeddedDatabase extends DatabaseAdapter {
  /** Runs `work` after a checkpoint, with no statement running, so that the files do not change. All calls wait. */
  whileQuiesced<T>(work: (checkpoint: Checkpoint) => Promise<T>): Promise<T>
  /**
   * Vacuums and analyses the tables that have changed much. All calls wait while a statement runs, and get their turn
   * before the next one.
   * @param proceed awaited before each statement; false ends it
   */
  maintain(proceed: () => Promise<boolean>): Promise<Maintenance>
}

export interface Maintenance {
  statements: number
  longestMs: number
}

export async function createEmbeddedDatabase(options: EmbeddedOptions): Promise<EmbeddedDatabase> {
  const { pglite, deadlineMs } = options
  const session = await createEmbeddedSession(pglite)
  const queue = createEmbeddedQueue<WriteInBatch>(session.writeTogether)
  let closing: Promise<void> | undefined

  const call = async <T>(jobOf: JobOf<T>, how?: Partial<Enqueueing>): Promise<T> => {
    if (closing !== undefined) throw databaseClosing()
    return await enqueue(queue, jobOf, { deadlineMs, ...how })
  }
  const read = async <Row>(scope: Scope, statement: SQL<Row>, isUrgent: boolean): Promise<Row[]> => {
    const compiled = compileStatement(statement)
    const jobOf: JobOf<Row[]> = (resolve, reject) => ({
      alone: () => session.read(scope, compiled).then((rows) => resolve(rows as Row[]), reject),
    })
    return await call(jobOf, { isUrgent })
  }
  const alone = async <T>(work: () => Promise<T>): Promise<T> => {
    if (closing !== undefined) throw databaseClosing()
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    queue.add({ alone: () => work().then(resolve, reject) })
    return await promise
  }

  return {
    kind: 'embedded',
    read: (scope, statement) => read(scope, statement, false),
    readUrgent: (scope, statement) => read(scope, statement, true),
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
        { onLate: () => giveUp.abort(databaseUnavailable('The transaction took too long.')) },
      )
    },
    whileQuiesced: (work) => alone(() => makeCheckpoint(connectionTo(pglite)).then(work)),
    maintain: async (proceed) => {
      const done: Maintenance = { statements: 0, longestMs: 0 }
      for (const statement of await alone(() => session.asOwner(maintenanceDue))) {
        if (!(await proceed())) break
        const ms = await alone(() => session.asOwner((owner) => timed(() => owner.query(statement))))
        done.statements += 1
        done.longestMs = Math.max(done.longestMs, ms)
      }
      return done
    },
    stats: () => ({ connections: 1, connectionLimit: 1, waiting: queue.length }),
    close: () => {
      closing ??= queue.drained().then(options.close)
      return closing
    },
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return Math.round(performance.now() - startedAt)
}

type JobOf<T> = (resolve: (value: T) => void, reject: (error: unknown) => void) => Job<WriteInBatch>

interface Enqueueing {
  deadlineMs: number
  /** Ahead of those that wait. */
  isUrgent?: boolean
  /** Called when the deadline passes while the job is running. */
  onLate?: () => void
}

function enqueue<T>(queue: EmbeddedQueue<WriteInBatch>, jobOf: JobOf<T>, how: Enqueueing): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const job = jobOf(resolve, reject)
  if (how.isUrgent) queue.addFirst(job)
  else queue.add(job)
  const fallback = (): never => {
    if (!queue.remove(job)) how.onLate?.()
    throw databaseTimedOut()
  }
  return pTimeout(promise, { milliseconds: how.deadlineMs, fallback })
}
