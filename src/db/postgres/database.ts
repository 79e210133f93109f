/**
 * The Database on a PostgreSQL server. Reads and writes are groups of statements sent without waiting for answers
 * (lane.ts, lane-groups.ts). Sessions are read-only but for what stands between `begin read write` and its end, so
 * that a statement which lost its BEGIN, for whatever reason, can change nothing.
 * Interactive transactions have connections of their own: behind a group that waits for a row's lock there must
 * never stand the transaction that holds it.
 */
import type { SQL } from 'drizzle-orm'
import pTimeout from 'p-timeout'
import type { MeasuredDatabase, Scope } from '../database.ts'
import {
  databaseBusy,
  databaseError,
  databaseTimedOut,
  databaseUnavailable,
  isConnectionFailure,
  isStalePlan,
} from '../errors.ts'
import { compileStatement, type Statement } from '../statement.ts'
import type { Lane } from './connection.ts'
import { runTransaction, sendRead, sendWrite } from './pipeline.ts'
import { createLanePool } from './pool.ts'

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

/** Calls under way at once; more are refused with AppError `busy`. */
const maxCalls = 1000
const closeTimeoutSeconds = 5

export function createPostgresDatabase(options: PostgresOptions): MeasuredDatabase {
  const { url, connectTimeoutSeconds, deadlineMs, poolSize } = options
  const laneOptions = { url, connectTimeoutSeconds, parameters: sessionParameters(options) }
  const shared = createLanePool(laneOptions, poolSize, 0)
  const interactiveSize = Math.max(2, Math.ceil(poolSize / 3))
  const interactive = createLanePool(laneOptions, interactiveSize, maxCalls)
  let calls = 0
  let closed = false

  const counted = async <T>(call: () => Promise<T>): Promise<T> => {
    if (closed) throw databaseUnavailable('The database is being closed.')
    if (calls >= maxCalls) throw databaseBusy()
    calls += 1
    try {
      return await call()
    } finally {
      calls -= 1
    }
  }
  const onSharedLane = <T>(ms: number, send: (lane: Lane) => Promise<T>, connectedSince = 0): Promise<T> => {
    const lane = shared.leastLoaded(connectedSince)
    const fallback = (): never => {
      lane.destroy()
      throw databaseTimedOut()
    }
    return pTimeout(send(lane), { milliseconds: ms, fallback })
  }

  return {
    kind: 'postgres',
    read: <Row>(scope: Scope, statement: SQL<Row>) =>
      counted(async () => {
        const compiled = compileStatement(statement)
        const startedAt = performance.now()
        const attempt = (connectedSince?: number) => {
          const msLeft = startedAt + deadlineMs - performance.now()
          return onSharedLane(msLeft, (lane) => sendRead(lane, scope, compiled), connectedSince)
        }
        const again = (error: unknown) => {
          if (isStalePlan(error)) return attempt()
          // Where one connection broke, the others of that time may be broken too without knowing it yet.
          if (isConnectionFailure(error) && !closed) return attempt(startedAt)
          throw error
        }
        try {
          return (await attempt().catch(again)) as Row[]
        } catch (error) {
          throw databaseError(error, compiled.text)
        }
      }),
    write: <Row>(scope: Scope, ...statements: SQL[]) =>
      counted(async () => {
        const compiled = statements.map(compileStatement)
        try {
          return (await onSharedLane(deadlineMs, (lane) => sendWrite(lane, scope, compiled))) as Row[]
        } catch (error) {
          throw databaseError(error, textOf(compiled))
        }
      }),
    transaction: (scope, work, kind) =>
      counted(async () => {
        const giveUp = new AbortController()
        let lane: Lane | undefined
        const run = async () => {
          lane = await interactive.lease(giveUp.signal)
          try {
            return await runTransaction(lane, scope, work, kind)
          } finally {
            interactive.giveBack(lane)
          }
        }
        const fallback = (): never => {
          giveUp.abort(databaseUnavailable('No connection became free in time.'))
          if (lane !== undefined) {
            // `work` may never end; its place must not wait for it.
            lane.destroy()
            interactive.giveBack(lane)
          }
          throw databaseTimedOut()
        }
        return await pTimeout(run(), { milliseconds: deadlineMs, fallback })
      }),
    stats: () => ({
      connections: shared.lanes.length + interactive.lanes.length,
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

const textOf = (statements: readonly Statement[]): string => statements.map(({ text }) => text).join('; ')

/** The server ends a slow statement a little before the deadline does, which would cost the whole connection. */
function sessionParameters({ role, deadlineMs }: PostgresOptions): Record<string, string> {
  const statementTimeoutMs = String(Math.ceil(deadlineMs * 0.9))
  return {
    application_name: 'minimart',
    default_transaction_read_only: 'on',
    statement_timeout: statementTimeoutMs,
    idle_in_transaction_session_timeout: String(deadlineMs),
    ...(role === null ? {} : { role }),
  }
}
