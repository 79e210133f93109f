/**
 * Maps what the drivers throw, by SQLSTATE or error code and never by text, to the three kinds the rest of the program
 * knows: a constraint refused a row, the database is unavailable, or the statement is a bug.
 */
import { AppError, OperatorError } from '../errors.ts'

/** A named constraint (SQLSTATE class 23) refused a row. */
export class ConstraintError extends Error {
  override readonly name = 'ConstraintError'
  constructor(
    /** Empty where PostgreSQL gives no name: NOT NULL columns. */
    readonly constraint: string,
    readonly sqlState: string,
  ) {
    super(`constraint ${constraint || '(unnamed)'} refused a row (SQLSTATE ${sqlState})`)
  }
}

/** A statement that the database rejects as such: a bug. Never holds a parameter's value. */
export class StatementError extends Error {
  override readonly name = 'StatementError'
  constructor(
    readonly sqlState: string,
    message: string,
  ) {
    super(message)
  }
}

/** The server is up but rejects the user, the password or the database name. */
export class SignInRefused extends OperatorError {}

const retryAfterSeconds = 2

export const databaseUnavailable = (detail: string, cause?: unknown): AppError =>
  new AppError('database_unavailable', detail, { retryAfterSeconds, cause })

export const databaseTimedOut = (): AppError => databaseUnavailable('The database did not answer in time.')

export const databaseClosing = (): AppError => databaseUnavailable('The database is being closed.')

export const databaseBusy = (): AppError =>
  new AppError('busy', 'Too many calls wait for the database.', { retryAfterSeconds: 1 })

/** For a query that is sent after its transaction has ended. */
export const transactionOver = (): AppError => databaseUnavailable('The transaction is over.')

/** For a transaction whose `work` caught the error of a statement and went on. */
export const errorSwallowed = (): Error =>
  new Error('The transaction was rolled back: a statement failed and its error was swallowed')

/**
 * Maps a driver's error to a ConstraintError, an AppError `database_unavailable` or a StatementError; an error without
 * an SQLSTATE or a known code is returned as it is.
 * @param statement the SQL text, which goes into the message of a StatementError; it holds no values
 */
export function databaseError(error: unknown, statement = ''): Error {
  if (error instanceof AppError || error instanceof ConstraintError || error instanceof StatementError)
    return error
  const code = errorCode(error)
  if (code === diskFull)
    return databaseUnavailable('The database has no room to write: its disk is full.', summaryOf(error, code))
  if (isConnectionFailure(error) || isTransient(error))
    return databaseUnavailable('The database cannot be reached.', summaryOf(error, code))
  if (!isSqlState(code)) return error instanceof Error ? error : new Error(String(error))
  if (code.startsWith('23')) return new ConstraintError(textField(error, 'constraint'), code)
  const where = statement === '' ? '' : ` in: ${statement.replace(/\s+/g, ' ').trim().slice(0, 200)}`
  return new StatementError(code, `${safeMessage(error, code)}${where}`)
}

/** Whether the connection broke or could not be made, so that a read may be retried on another one. */
export function isConnectionFailure(error: unknown): boolean {
  const code = errorCode(error)
  return connectionCodes.has(code) || (isSqlState(code) && (code.startsWith('08') || code.startsWith('57P')))
}

/** A prepared statement that the server dropped, or whose tables have changed; it works when sent again. */
export const isStalePlan = (error: unknown): boolean =>
  errorCode(error) === '26000' ||
  (errorCode(error) === '0A000' && textField(error, 'routine') === 'RevalidateCachedQuery')

/** As `databaseError` maps it. */
export const isDiskFull = (error: unknown): boolean =>
  error instanceof AppError && errorCode(error.extras.cause) === diskFull

/** Of the driver: a lock was not to be had within lock_timeout. */
export const isLockTimeout = (error: unknown): boolean => errorCode(error) === '55P03'

/** The SQLSTATE, or the driver's or operating system's code; empty when there is none. */
export const errorCode = (error: unknown): string => textField(error, 'code')

const diskFull = '53100'

const connectionCodes: ReadonlySet<string> = new Set([
  ...['CONNECTION_CLOSED', 'CONNECTION_ENDED', 'CONNECTION_DESTROYED', 'CONNECT_TIMEOUT'],
  ...['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'],
  ...['EHOSTDOWN', 'ENETDOWN', 'ENOTFOUND', 'EAI_AGAIN', 'ENOENT', 'ERR_SOCKET_CLOSED'],
])

/**
 * For the operator to fix: cancelled or timed out (57014), idle too long in a transaction (25P03), out of connections,
 * memory or disk (class 53), I/O error (58), sign-in (28) or database (3D) refused.
 * Gone at the next try: deadlock and serialisation failure (class 40), lock timeout (55P03).
 */
const transientCode = /^(57014|25P03|55P03|53...|58...|28...|3D...|40...)$/

/** Codes of the operating system and of TLS: EACCES, ERR_TLS_CERT_ALTNAME_INVALID, SELF_SIGNED_CERT_IN_CHAIN, … */
const systemCode = /^(E[A-Z]|ERR_|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_)/

const isTransient = (error: unknown): boolean =>
  transientCode.test(errorCode(error)) || systemCode.test(errorCode(error)) || isStalePlan(error)

/** Not every code of five characters is one: EPIPE. */
const isSqlState = (code: string): boolean => /^(\d[0-9A-Z]|F0|HV|P0|XX)[0-9A-Z]{3}$/.test(code)

/** Messages of class 22 (bad data) and of raised exceptions quote user input. */
const safeMessage = (error: unknown, code: string): string =>
  /^(22|P0)/.test(code)
    ? `the database refused a value (SQLSTATE ${code})`
    : `${error instanceof Error ? error.message : 'statement refused'} (SQLSTATE ${code})`

/** The drivers' errors carry statements and parameters, which must not reach the log. */
const summaryOf = (error: unknown, code: string): Error =>
  Object.assign(new Error(error instanceof Error && !/^(22|P0)/.test(code) ? error.message : code), { code })

function textField(error: unknown, field: string): string {
  if (typeof error !== 'object' || error === null) return ''
  const value: unknown = Reflect.get(error, field) ?? (field === 'constraint' ? constraintName(error) : '')
  return typeof value === 'string' ? value : ''
}

/** postgres.js and PGlite name the field differently. */
const constraintName = (error: object): unknown => Reflect.get(error, 'constraint_name') ?? ''
