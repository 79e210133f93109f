/**
 * Wraps a database adapter, embedded or PostgreSQL, so that both report the same: the duration of each call (waiting
 * included), how it failed, a log line when it was slow and a span when traces are on. Values are never reported.
 */

import type { SQL } from 'drizzle-orm'
import { AppError, OperatorError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Tracing } from '../tracing/tracing.ts'
import type { Database, DatabaseAdapter, Query, Scope } from './database.ts'
import type { EmbeddedDatabase } from './embedded/database.ts'
import { ConstraintError, isDiskFull } from './errors.ts'
import type { SharedDatabase } from './shares.ts'
import { compileStatement } from './statement.ts'

export type CallKind = 'read' | 'write' | 'transaction'
/** `busy`: too many calls; `unavailable`: connection lost, none to be had, or too slow; `fault`: a bug. */
export type CallFailure = 'busy' | 'unavailable' | 'fault'
export type CallObserver = (kind: CallKind, seconds: number, failure: CallFailure | null) => void

export interface InstrumentedDatabase extends SharedDatabase {
  /** Only on the embedded database. */
  whileQuiesced?: EmbeddedDatabase['whileQuiesced']
  /** Likewise: PostgreSQL has its autovacuum. */
  maintain?: EmbeddedDatabase['maintain']
  /** Replaces the observer, which is called at the end of each call. */
  onCall(observer: CallObserver): void
  /** Whether a write found the disk full within the last seconds, and none has succeeded since. */
  isFull(): boolean
}

/** Where nothing is written any more, because of isFull, this is how often it is tried. */
const fullForMs = 10_000

export interface InstrumentOptions {
  log: Logger
  /** Calls that take longer are logged; 0 logs none. */
  slowQueryMs: number
  tracing: Tracing | null
}

export function instrumentDatabase(
  db: SharedDatabase<DatabaseAdapter | EmbeddedDatabase>,
  options: InstrumentOptions,
): InstrumentedDatabase {
  const { slowQueryMs, tracing } = options
  let observe: CallObserver = () => undefined
  let fullAt = Number.NEGATIVE_INFINITY

  const instrumented = async <T>(call: Call, run: () => Promise<T>): Promise<T> => {
    const startedAt = performance.now()
    let failure: CallFailure | null = null
    try {
      const result = await (tracing === null
        ? run()
        : tracing.databaseCall({ kind: call.kind, text: () => textOf(call.statements) }, run))
      if (call.kind === 'write') fullAt = Number.NEGATIVE_INFINITY
      return result
    } catch (error) {
      failure = failureOf(error)
      if (isDiskFull(error)) fullAt = performance.now()
      throw error
    } finally {
      const ms = performance.now() - startedAt
      observe(call.kind, ms / 1000, failure)
      if (slowQueryMs > 0 && ms > slowQueryMs) logSlow(options, call, ms)
    }
  }

  const read =
    (way: Database['read']): Database['read'] =>
    (scope, statement) =>
      instrumented({ kind: 'read', scope, statements: [statement] }, () => way(scope, statement))

  return {
    kind: db.kind,
    read: read(db.read),
    readUrgent: read(db.readUrgent),
    write: (scope, ...statements) =>
      instrumented({ kind: 'write', scope, statements }, () => db.write(scope, ...statements)),
    transaction: (scope, work, isolation) => {
      const statements: SQL[] = []
      return instrumented({ kind: 'transaction', scope, statements }, () =>
        db.transaction(scope, (query) => work(recording(query, statements)), isolation),
      )
    },
    ...('maintain' in db ? { whileQuiesced: db.whileQuiesced, maintain: db.maintain } : {}),
    stats: db.stats,
    calls: db.calls,
    close: db.close,
    onCall: (observer) => {
      observe = observer
    },
    isFull: () => performance.now() - fullAt < fullForMs,
  }
}

interface Call {
  kind: CallKind
  scope: Scope
  /** Grows while a transaction is in progress. */
  statements: readonly SQL[]
}

function logSlow({ log, tracing }: InstrumentOptions, { kind, scope, statements }: Call, ms: number): void {
  log.warn('slow database call', {
    kind,
    ms: Math.round(ms),
    scope: typeof scope === 'string' ? scope : 'tenant',
    statement: textOf(statements),
    request_id: typeof scope === 'string' ? null : (scope.requestId ?? null),
    ...(tracing === null ? {} : { trace_id: tracing.traceId() }),
  })
}

/** A long transaction may send any number of statements, and each holds its values. */
const maxRecorded = 10

const recording =
  (query: Query, statements: SQL[]): Query =>
  (statement) => {
    if (statements.length < maxRecorded) statements.push(statement)
    return query(statement)
  }

/** A refused row is a result, and so is what the transaction's own work refuses. */
function failureOf(error: unknown): CallFailure | null {
  if (error instanceof AppError)
    return error.code === 'busy' ? 'busy' : error.code === 'database_unavailable' ? 'unavailable' : null
  return error instanceof ConstraintError || error instanceof OperatorError ? null : 'fault'
}

const maxTextLength = 1000

/** With placeholders for the values. */
const textOf = (statements: readonly SQL[]): string =>
  statements
    .map((statement) => compileStatement(statement).text.replace(/\s+/g, ' ').trim())
    .join('; ')
    .slice(0, maxTextLength)
