/**
 * The Database on a PostgreSQL server. Reads and writes are pipelined (connection.ts, pipeline.ts). Sessions are
 * read-only but for what stands between `begin read write` and its end, so that a statement which lost its BEGIN, for
 * whatever reason, can change nothing.
 * Interactive transactions have connections of their own: a transaction that holds a row's lock must never queue
 * behind a batch that waits for it.
 */
import type { SQL } from 'drizzle-orm'
import pTimeout from 'p-timeout'
import { version } from '../../version.ts'
import type { DatabaseAdapter, Query, Scope, TransactionKind } from '../database.ts'
import {
  databaseBusy,
  databaseClosing,
  databaseError,
  databaseTimedOut,
  databaseUnavailable,
  isConnectionFailure,
  isStalePlan,
} from '../errors.ts'
import { compileStatement, type Statement } from '../statement.ts'
import type { Connection } from './connection.ts'
import { runTransaction, sendRead, sendWrite } from './pipeline.ts'
import { createLeasePool, createSharedPool, type LeasePool, type SharedPool } from './pool.ts'

export interface PostgresOptions {
  url: string
  /** Taken on signing in; null to stay the user of the URL. */
  role: string | null
  /** Connections for reads and writes; interactive transactions have a third as many besides. */
  poolSize: number
  /** For each call, waiting included. */
  deadlineMs: number
  connectTimeoutSeconds: number
}

/** Concurrent calls; more are refused with AppError `busy`. */
const maxCalls = 1000
const closeTimeoutSeconds = 5

export function createPostgresDatabase(options: PostgresOptions): DatabaseAdapter {
  const { url, connectTimeoutSeconds, deadlineMs, poolSize } = options
  const connectionOptions = { url, connectTimeoutSeconds, settings: sessionSettings(options) }
  const shared = createSharedPool(connectionOptions, poolSize)
  const interactiveSize = Math.max(2, Math.ceil(poolSize / 3))
  const interactive = createLeasePool(connectionOptions, interactiveSize, maxCalls)
  let calls = 0
  let closed = false

  const counted = async <T>(call: () => Promise<T>): Promise<T> => {
    if (closed) throw databaseClosing()
    if (calls >= maxCalls) throw databaseBusy()
    calls += 1
    try {
      return await call()
    } finally {
      calls -= 1
    }
  }

  return {
    kind: 'postgres',
    read: <Row>(scope: Scope, statement: SQL<Row>) =>
      counted(async () => {
        const compiled = compileStatement(statement)
        const rows = await readWithRetry(shared, deadlineMs, scope, compiled, () => closed)
        return rows as Row[]
      }),
    write: <Row>(scope: Scope, ...statements: SQL[]) =>
      counted(async () => {
        const compiled = statements.map(compileStatement)
        try {
          const rows = await onShared(shared, deadlineMs, (connection) =>
            sendWrite(connection, scope, compiled),
          )
          return rows as Row[]
        } catch (error) {
          throw databaseError(error, compiled.map(({ text }) => text).join('; '))
        }
      }),
    transaction: (scope, work, kind) => counted(() => onLease(interactive, deadlineMs, scope, work, kind)),
    stats: () => ({
      connections: shared.size + interactive.size,
      connectionLimit: poolSize + interactiveSize,
      calls,
      waiting: interactive.waiting,
    }),
    close: async () => {
      closed = true
      await Promise.all([shared.end(closeTimeoutSeconds), interactive.end(closeTimeoutSeconds)])
    },
  }
}

/** A connection that does not answer in time is cut, for all that is on it. */
function onShared<T>(
  pool: SharedPool,
  timeoutMs: number,
  send: (connection: Connection) => Promise<T>,
  connectedSince = 0,
): Promise<T> {
  const connection = pool.leastLoaded(connectedSince)
  const fallback = (): never => {
    connection.destroy()
    throw databaseTimedOut()
  }
  return pTimeout(send(connection), { milliseconds: timeoutMs, fallback })
}

async function readWithRetry(
  pool: SharedPool,
  deadlineMs: number,
  scope: Scope,
  statement: Statement,
  isClosed: () => boolean,
): Promise<Record<string, unknown>[]> {
  const startedAt = performance.now()
  const attempt = (connectedSince?: number) => {
    const msLeft = Math.max(1, startedAt + deadlineMs - performance.now())
    return onShared(pool, msLeft, (connection) => sendRead(connection, scope, statement), connectedSince)
  }
  const retry = (error: unknown) => {
    if (isStalePlan(error)) return attempt()
    // Where one connection broke, others of its age may be broken too and not know it yet.
    if (isConnectionFailure(error) && !isClosed()) return attempt(startedAt)
    throw error
  }
  try {
    return await attempt().catch(retry)
  } catch (error) {
    throw databaseError(error, statement.text)
  }
}

async function onLease<T>(
  pool: LeasePool,
  deadlineMs: number,
  scope: Scope,
  work: (query: Query) => Promise<T>,
  kind?: TransactionKind,
): Promise<T> {
  const waiting = new AbortController()
  let connection: Connection | undefined
  const run = async () => {
    connection = await pool.lease(waiting.signal)
    try {
      return await runTransaction(connection, scope, work, kind)
    } finally {
      pool.release(connection)
    }
  }
  const fallback = (): never => {
    waiting.abort(databaseUnavailable('No connection became free in time.'))
    if (connection !== undefined) {
      // `work` may never end; its place in the pool must not wait for it.
      connection.destroy()
      pool.release(connection)
    }
    throw databaseTimedOut()
  }
  return await pTimeout(run(), { milliseconds: deadlineMs, fallback })
}

/** The server's timeout is a little shorter than the deadline, which would cost the whole connection. */
function sessionSettings({ role, deadlineMs }: PostgresOptions): Record<string, string> {
  const statementTimeoutMs = String(Math.ceil(deadlineMs * 0.9))
  return {
    // Not `minimart` alone, by which the function retire_shared_role knows the sessions of earlier releases.
    application_name: `minimart ${version}`,
    default_transaction_read_only: 'on',
    statement_timeout: statementTimeoutMs,
    idle_in_transaction_session_timeout: String(deadlineMs),
    ...(role === null ? {} : { role }),
  }
}
