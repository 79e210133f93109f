/**
 * The three shapes in which statements go over a connection, each with its tenant. A batch's results count only when
 * all of it succeeded; when one statement fails PostgreSQL refuses the rest of the transaction and COMMIT rolls back.
 */
import type { SQL } from 'drizzle-orm'
import type { Query, Scope, TransactionKind } from '../database.ts'
import {
  databaseError,
  databaseUnavailable,
  errorSwallowed,
  isConnectionFailure,
  transactionOver,
} from '../errors.ts'
import { beginSql, compileStatement, type Statement } from '../statement.ts'
import { scopeForSession, scopeForTransaction } from '../tenancy.ts'
import { type Connection, resultsOf } from './connection.ts'
import type { StatementResult } from './driver.ts'

/** Outside a transaction block; read-only by the session's default. */
export async function sendRead(
  connection: Connection,
  scope: Scope,
  statement: Statement,
): Promise<StatementResult['rows']> {
  const results = await sendFramed(connection, [scopeForSession(scope)], [statement], [])
  return results.at(-1)?.rows ?? []
}

/**
 * @param lockTimeoutMs see scopeForTransaction
 * @returns the rows of the last statement
 */
export async function sendWrite(
  connection: Connection,
  scope: Scope,
  statements: Statement[],
  lockTimeoutMs: number,
): Promise<StatementResult['rows']> {
  const before = [begin, scopeForTransaction(scope, lockTimeoutMs)]
  const results = await sendFramed(connection, before, statements, [commit])
  ensureCommitted(results)
  return results.at(-2)?.rows ?? []
}

/** The connection must be the caller's alone until this settles. */
export async function runTransaction<T>(
  connection: Connection,
  scope: Scope,
  work: (query: Query) => Promise<T>,
  kind: TransactionKind = 'read write',
): Promise<T> {
  let over = false
  const query: Query = async <Row>(statement: SQL<Row>) => {
    if (over) throw transactionOver()
    const compiled = compileStatement(statement)
    try {
      return resultsOf(await connection.send([compiled])).flatMap(({ rows }) => rows) as Row[]
    } catch (error) {
      throw databaseError(error, compiled.text)
    }
  }
  const frame = (...statements: Statement[]): Promise<StatementResult[]> =>
    sendFramed(connection, statements, [], []).catch((error) => {
      throw databaseError(error)
    })
  await frame({ text: beginSql[kind], parameters: [] }, scopeForTransaction(scope))
  try {
    const result = await work(query)
    over = true
    ensureCommitted(await frame(commit))
    return result
  } catch (error) {
    over = true
    // A connection that cannot even roll back has been destroyed, which rolls back as well; the first error counts.
    if (connection.alive) await frame(rollback).catch(() => undefined)
    throw error
  }
}

const begin: Statement = { text: beginSql['read write'], parameters: [] }
const commit: Statement = { text: 'commit', parameters: [] }
const rollback: Statement = { text: 'rollback', parameters: [] }

async function sendFramed(
  connection: Connection,
  before: Statement[],
  statements: Statement[],
  after: Statement[],
): Promise<StatementResult[]> {
  const settled = await connection.send([...before, ...statements, ...after])
  const failures = settled.flatMap((outcome, index) =>
    outcome.status === 'rejected' ? [{ index, error: outcome.reason }] : [],
  )
  const inFrame = (index: number): boolean =>
    index < before.length || index >= before.length + statements.length
  // When part of the frame failed, the state of the session is unknown.
  if (failures.some(({ index }) => inFrame(index))) connection.destroy()
  const [first] = failures
  if (first === undefined) return resultsOf(settled)
  if (inFrame(first.index) && !isConnectionFailure(first.error))
    throw databaseUnavailable('The database refuses transactions.', databaseError(first.error))
  throw first.error
}

/** PostgreSQL answers COMMIT with ROLLBACK, not with an error, when a statement before it has failed. */
function ensureCommitted(results: readonly StatementResult[]): void {
  if (results.at(-1)?.command !== 'COMMIT') throw errorSwallowed()
}
