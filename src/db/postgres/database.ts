/**
 * The Database on a PostgreSQL server. Reads and writes are pipelined (connection.ts, pipeline.ts). Sessions are
 * read-only but for what stands between `begin read write` and its end, so that a statement which lost its BEGIN, for
 * whatever reason, can change nothing.
 * What may wait for a lock keeps away from what does not (scheduler.ts). Urgent reads have a connection of their own. So
 * have interactive transactions: one that holds a row's lock must never queue behind a batch that waits for it.
 */
import type { SQL } from 'drizzle-orm'
import pTimeout from 'p-timeout'
import { version } from '../../version.ts'
import type { DatabaseAdapter, LockedRow, Query, Scope, TransactionKind } from '../database.ts'
import {
  databaseClosing,
  databaseError,
  databaseTimedOut,
  databaseUnavailable,
  isConnectionFailure,
  isStalePlan,
} from '../errors.ts'
import { compileStatement } from '../statement.ts'
import type { Connection } from './connection.ts'
import type { ConnectionOptions } from './driver.ts'
import { createLeasePool, type LeasePool } from './lease-pool.ts'
import { runTransaction, sendRead, sendWrite } from './pipeline.ts'
import { createScheduler, type Scheduler } from './scheduler.ts'

export interface PostgresOptions {
  url: string
  /** Taken on signing in; null to stay the user of the URL. */
  role: string | null
  /** Connections for reads and writes, besides one for urgent reads and two for interactive transactions. */
  poolSize: number
  /** For each call, waiting included. */
  deadlineMs: number
  connectTimeoutSeconds: number
}

const closeTimeoutSeconds = 5
const transactionConnections = 2
/** Whoever waits for an urgent read gives it up, and asks again, sooner than any other. */
const urgentDeadlineMs = 2000

export function createPostgresDatabase(options: PostgresOptions): DatabaseAdapter {
  const { deadlineMs, poolSize } = options
  const urgentMs = Math.min(deadlineMs, urgentDeadlineMs)
  const shared = createScheduler(connectionOptions(options, deadlineMs), poolSize)
  const urgent = createScheduler(connectionOptions(options, urgentMs), 1)
  const interactive = createLeasePool(connectionOptions(options, deadlineMs), transactionConnections)
  const pools = [shared, urgent, interactive]
  let closed = false

  const open = async <T>(call: () => Promise<T>): Promise<T> => {
    if (closed) throw databaseClosing()
    return await call()
  }
  const readOn = (pool: Scheduler, timeoutMs: number): DatabaseAdapter['read'] => {
    return <Row>(scope: Scope, statement: SQL<Row>) =>
      open(async () => (await readWithRetry(pool, timeoutMs, scope, statement, () => closed)) as Row[])
  }

  return {
    kind: 'postgres',
    read: readOn(shared, deadlineMs),
    readUrgent: readOn(urgent, urgentMs),
    write: <Row>(scope: Scope, ...statements: SQL[]) =>
      open(async () => (await write(shared, deadlineMs, scope, statements)) as Row[]),
    transaction: (scope, work, kind) => open(() => onLease(interactive, deadlineMs, scope, work, kind)),
    stats: () => ({
      connections: pools.reduce((sum, { size }) => sum + size, 0),
      connectionLimit: poolSize + 1 + transactionConnections,
      waiting: pools.reduce((sum, { waiting }) => sum + waiting, 0),
    }),
    close: async () => {
      closed = true
      await Promise.all(pools.map((pool) => pool.end(closeTimeoutSeconds)))
    },
  }
}

const tenantOf = (scope: Scope): string => (typeof scope === 'string' ? scope : scope.tenantId)
const rowOf = (scope: Scope): LockedRow | null => (typeof scope === 'string' ? null : (scope.row ?? null))

/** For so long a write may keep those waiting that were sent behind it. */
const lockTimeoutMs = 100

/** A write that finds a lock taken is undone by the server, and sent again where it can wait without holding up others. */
async function write(
  pool: Scheduler,
  timeoutMs: number,
  scope: Scope,
  statements: SQL[],
): Promise<Record<string, unknown>[]> {
  const compiled = statements.map(compileStatement)
  const call = { kind: 'write', tenant: tenantOf(scope), row: rowOf(scope), timeoutMs } as const
  try {
    return await pool.run(call, (connection, isPatient) =>
      sendWrite(connection, scope, compiled, isPatient ? 0 : lockTimeoutMs),
    )
  } catch (error) {
    throw databaseError(error, compiled.map(({ text }) => text).join('; '))
  }
}

async function readWithRetry(
  pool: Scheduler,
  deadlineMs: number,
  scope: Scope,
  statement: SQL,
  isClosed: () => boolean,
): Promise<Record<string, unknown>[]> {
  const compiled = compileStatement(statement)
  const startedAt = performance.now()
  const attempt = (connectedSince?: number) => {
    const timeoutMs = Math.max(1, startedAt + deadlineMs - performance.now())
    const call = { kind: 'read', tenant: tenantOf(scope), row: null, timeoutMs } as const
    if (connectedSince !== undefined) pool.retireBefore(connectedSince)
    return pool.run(call, (connection) => sendRead(connection, scope, compiled))
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
    throw databaseError(error, compiled.text)
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

/** The server gives up a statement a little before we do, so that those behind it get their turn. */
function connectionOptions(options: PostgresOptions, timeoutMs: number): ConnectionOptions {
  const { url, connectTimeoutSeconds, role } = options
  return {
    url,
    connectTimeoutSeconds,
    settings: {
      // Not `minimart` alone, by which the function retire_shared_role knows the sessions of earlier releases.
      application_name: `minimart ${version}`,
      default_transaction_read_only: 'on',
      statement_timeout: String(Math.ceil(timeoutMs * 0.9)),
      idle_in_transaction_session_timeout: String(timeoutMs),
      ...(role === null ? {} : { role }),
    },
  }
}
