/**
 * Measures every call of a Database from outside, so that embedded and PostgreSQL are measured alike: how long it
 * took (waiting included), how it failed, what was slow, and a span where traces are wanted. Values are never told.
 */

import type { SQL } from 'drizzle-orm'
import { AppError, OperatorError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Tracing } from '../tracing/tracing.ts'
import type { MeasuredDatabase, Query, Scope } from './database.ts'
import type { EmbeddedDatabase } from './embedded/database.ts'
import { ConstraintError } from './errors.ts'
import { compileStatement } from './statement.ts'

export type CallKind = 'read' | 'write' | 'transaction'
/** `busy`: too many calls; `unavailable`: lost, out of reach or too slow; `fault`: one of the program's own. */
export type CallFailure = 'busy' | 'unavailable' | 'fault'
export type CallObserver = (kind: CallKind, seconds: number, failure: CallFailure | null) => void

export interface ObservedDatabase extends MeasuredDatabase {
  /** Of the embedded database alone. */
  atRest?: EmbeddedDatabase['atRest']
  /** Calls back at the end of each call. */
  onCall(observer: CallObserver): void
}

export interface MeasuringOptions {
  log: Logger
  /** A call that takes longer is logged; 0: none is. */
  slowQueryMs: number
  tracing: Tracing | null
}

export function measureDatabase(
  db: MeasuredDatabase | EmbeddedDatabase,
  options: MeasuringOptions,
): ObservedDatabase {
  const { log, slowQueryMs, tracing } = options
  let observe: CallObserver = () => undefined

  const tellSlow = (kind: CallKind, ms: number, scope: Scope, statements: readonly SQL[]): void =>
    log.warn('slow database call', {
      kind,
      ms: Math.round(ms),
      scope: typeof scope === 'string' ? scope : 'tenant',
      statement: textOf(statements),
      request_id: requestIdOf(scope),
      ...(tracing === null ? {} : { trace_id: tracing.traceId() }),
    })

  /** `statements` may still grow while the call goes on. */
  const measured = async <T>(
    kind: CallKind,
    scope: Scope,
    statements: readonly SQL[],
    call: () => Promise<T>,
  ): Promise<T> => {
    const startedAt = performance.now()
    let failure: CallFailure | null = null
    try {
      return await (tracing === null
        ? call()
        : tracing.databaseCall({ kind, text: () => textOf(statements) }, call))
    } catch (error) {
      failure = failureOf(error)
      throw error
    } finally {
      const ms = performance.now() - startedAt
      observe(kind, ms / 1000, failure)
      if (slowQueryMs > 0 && ms > slowQueryMs) tellSlow(kind, ms, scope, statements)
    }
  }

  return {
    kind: db.kind,
    read: (scope, statement) => measured('read', scope, [statement], () => db.read(scope, statement)),
    write: (scope, ...statements) =>
      measured('write', scope, statements, () => db.write(scope, ...statements)),
    transaction: (scope, work, isolation) => {
      const statements: SQL[] = []
      const noting =
        (query: Query): Query =>
        (statement) => {
          // A long one may send any number, with all that is in them.
          if (statements.length < maxNoted) statements.push(statement)
          return query(statement)
        }
      return measured('transaction', scope, statements, () =>
        db.transaction(scope, (query) => work(noting(query)), isolation),
      )
    },
    ...('atRest' in db ? { atRest: db.atRest } : {}),
    stats: db.stats,
    close: db.close,
    onCall: (observer) => {
      observe = observer
    },
  }
}

/** A refused row is an answer, and so is what a transaction's own work refuses. */
function failureOf(error: unknown): CallFailure | null {
  if (error instanceof AppError)
    return error.code === 'busy' ? 'busy' : error.code === 'database_unavailable' ? 'unavailable' : null
  return error instanceof ConstraintError || error instanceof OperatorError ? null : 'fault'
}

const maxTextLength = 1000
const maxNoted = 10

/** Placeholders stand where the values were. */
const textOf = (statements: readonly SQL[]): string =>
  statements
    .map((statement) => compileStatement(statement).text.replace(/\s+/g, ' ').trim())
    .join('; ')
    .slice(0, maxTextLength)

const requestIdOf = (scope: Scope): string | null =>
  typeof scope === 'string' ? null : (scope.requestId ?? null)
