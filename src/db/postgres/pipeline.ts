/**
 * The three shapes in which statements go over a lane, each with its tenant. A group's answers count only when all
 * of it succeeded; when one statement fails PostgreSQL refuses the rest of the transaction and COMMIT rolls back.
 */
import type { SQL } from 'drizzle-orm'
import type { Query, Scope, TransactionKind } from '../database.ts'
import { databaseError, databaseUnavailable, isConnectionFailure } from '../errors.ts'
import { beginOf, compileStatement, type Statement } from '../statement.ts'
import { scopeForSession, scopeForTransaction } from '../tenancy.ts'
import { type Answer, answersOf, type Lane } from './connection.ts'

/** Started outside of a transaction block; read-only by the session's default. */
export async function sendRead(lane: Lane, scope: Scope, statement: Statement): Promise<Answer['rows']> {
  const answers = await sendFramed(lane, [scopeForSession(scope)], [statement], [])
  return answers.at(-1)?.rows ?? []
}

export async function sendWrite(lane: Lane, scope: Scope, statements: Statement[]): Promise<Answer['rows']> {
  const answers = await sendFramed(lane, [begin, scopeForTransaction(scope)], statements, [commit])
  ensureCommitted(answers)
  return answers.at(-2)?.rows ?? []
}

/** The lane must be the caller's alone until this is settled. */
export async function runTransaction<T>(
  lane: Lane,
  scope: Scope,
  work: (query: Query) => Promise<T>,
  kind: TransactionKind = 'read write',
): Promise<T> {
  let over = false
  const query: Query = async <Row>(statement: SQL<Row>) => {
    if (over) throw databaseUnavailable('The transaction is over.')
    const compiled = compileStatement(statement)
    try {
      return answersOf(await lane.send([compiled])).flatMap((answer) => answer.rows) as Row[]
    } catch (error) {
      throw databaseError(error, compiled.text)
    }
  }
  const frame = (...statements: Statement[]): Promise<Answer[]> =>
    sendFramed(lane, statements, [], []).catch((error) => {
      throw databaseError(error)
    })
  await frame({ text: beginOf[kind], parameters: [] }, scopeForTransaction(scope))
  try {
    const result = await work(query)
    over = true
    ensureCommitted(await frame(commit))
    return result
  } catch (error) {
    over = true
    // A lane that cannot even roll back has been destroyed, which rolls back as well; the first error counts.
    if (lane.alive) await frame(rollback).catch(() => undefined)
    throw error
  }
}

const begin: Statement = { text: beginOf['read write'], parameters: [] }
const commit: Statement = { text: 'commit', parameters: [] }
const rollback: Statement = { text: 'rollback', parameters: [] }

async function sendFramed(
  lane: Lane,
  before: Statement[],
  statements: Statement[],
  after: Statement[],
): Promise<Answer[]> {
  const settled = await lane.send([...before, ...statements, ...after])
  const failures = settled.flatMap((outcome, index) =>
    outcome.status === 'rejected' ? [{ index, error: outcome.reason }] : [],
  )
  const inFrame = (index: number): boolean =>
    index < before.length || index >= before.length + statements.length
  // Without its frame nobody knows what state the session is in.
  if (failures.some(({ index }) => inFrame(index))) lane.destroy()
  const [first] = failures
  if (first === undefined) return answersOf(settled)
  if (inFrame(first.index) && !isConnectionFailure(first.error))
    throw databaseUnavailable('The database refuses transactions.', databaseError(first.error))
  throw first.error
}

/** PostgreSQL answers COMMIT with ROLLBACK, not with an error, when a statement before it has failed. */
function ensureCommitted(answers: readonly Answer[]): void {
  if (answers.at(-1)?.command !== 'COMMIT')
    throw new Error('The transaction was rolled back: a statement failed and its error was passed over')
}
