/**
 * What the drivers throw, told apart by SQLSTATE or code, never by text, and turned into the three kinds the rest of
 * the program knows: a constraint said no, the database is not to be had just now, or the program is at fault.
 */
import { AppError, OperatorError } from '../errors.ts'

/** A named constraint (SQLSTATE class 23) refused a row. */
export class ConstraintError extends Error {
  override readonly name = 'ConstraintError'
  constructor(
    /** Empty where PostgreSQL names none: NOT NULL columns. */
    readonly constraint: string,
    readonly sqlState: string,
  ) {
    super(`constraint ${constraint || '(unnamed)'} refused a row (SQLSTATE ${sqlState})`)
  }
}

/** A statement that no database would accept as it is: a fault of the program. Never holds a parameter's value. */
export class StatementError extends Error {
  override readonly name = 'StatementError'
  constructor(
    readonly sqlState: string,
    message: string,
  ) {
    super(message)
  }
}

/** The server answers, but does not let this user in. */
export class SignInRefused extends OperatorError {}

const retryAfterSeconds = 2

export const databaseUnavailable = (detail: string, cause?: unknown): AppError =>
  new AppError('database_unavailable', detail, { retryAfterSeconds, cause })

export const databaseTimedOut = (): AppError => databaseUnavailable('The database did not answer in time.')

export const databaseBusy = (): AppError =>
  new AppError('busy', 'Too many calls wait for the database.', { retryAfterSeconds: 1 })

/** @param statement the SQL text, which goes into the message of a StatementError; it holds no values */
export function databaseError(error: unknown, statement = ''): Error {
  if (error instanceof AppError || error instanceof ConstraintError || error instanceof StatementError)
    return error
  const code = errorCode(error)
  if (code === diskFull)
    return databaseUnavailable('The database has no room to write: its disk is full.', summaryOf(error, code))
  if (isConnectionFailure(error) || isTransient(error))
    return databaseUnavailable('The database cannot be reached just now.', summaryOf(error, code))
  if (!isSqlState(code)) return error instanceof Error ? error : new Error(String(error))
  if (code.startsWith('23')) return new ConstraintError(textField(error, 'constraint'), code)
  const where = statement === '' ? '' : ` in: ${statement.replace(/\s+/g, ' ').trim().slice(0, 200)}`
  return new StatementError(code, `${safeMessage(error, code)}${where}`)
}

/** Whether the connection broke or could not be made, so that a read may be tried on another one. */
export function isConnectionFailure(error: unknown): boolean {
  const code = errorCode(error)
  return connectionCodes.has(code) || (isSqlState(code) && (code.startsWith('08') || code.startsWith('57P')))
}

/** A prepared statement that the server dropped, or whose tables changed under it; it works when sent again. */
export const isStalePlan = (error: unknown): boolean =>
  errorCode(error) === '26000' ||
  (errorCode(error) === '0A000' && textField(error, 'routine') === 'RevalidateCachedQuery')

/** PostgreSQL's SQLSTATE, a driver's or an operating system's code; empty when there is none. */
export const errorCode = (error: unknown): string => textField(error, 'code')

const diskFull = '53100'

const connectionCodes: ReadonlySet<string> = new Set([
  ...['CONNECTION_CLOSED', 'CONNECTION_ENDED', 'CONNECTION_DESTROYED', 'CONNECT_TIMEOUT'],
  ...['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'],
  ...['EHOSTDOWN', 'ENETDOWN', 'ENOTFOUND', 'EAI_AGAIN', 'ENOENT', 'ERR_SOCKET_CLOSED'],
])

/**
 * Cancelled or timed out (57014), idle too long in a transaction (25P03), out of connections, memory or disk
 * (class 53), an I/O error (58), refused sign-in (28) or database (3D): the operator's to mend. Deadlock and
 * serialisation (class 40) and lock timeouts (55P03): gone at the next try.
 */
const transientCode = /^(57014|25P03|55P03|53...|58...|28...|3D...|40...)$/

/** The operating system's and TLS's codes: EACCES, ERR_TLS_CERT_ALTNAME_INVALID, SELF_SIGNED_CERT_IN_CHAIN, … */
const systemCode = /^(E[A-Z]|ERR_|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_)/

const isTransient = (error: unknown): boolean =>
  transientCode.test(errorCode(error)) || systemCode.test(errorCode(error)) || isStalePlan(error)

/** EPIPE and its like have five letters too. */
const isSqlState = (code: string): boolean => /^(\d[0-9A-Z]|F0|HV|P0|XX)[0-9A-Z]{3}$/.test(code)

/** Messages of class 22 (bad data) and of raised exceptions quote what people wrote. */
const safeMessage = (error: unknown, code: string): string =>
  /^(22|P0)/.test(code)
    ? `the database refused a value (SQLSTATE ${code})`
    : `${error instanceof Error ? error.message : 'statement refused'} (SQLSTATE ${code})`

/** The drivers' own errors carry statements and parameters, which have no business in a log. */
const summaryOf = (error: unknown, code: string): Error =>
  Object.assign(new Error(error instanceof Error && !/^(22|P0)/.test(code) ? error.message : code), { code })

function textField(error: unknown, field: string): string {
  if (typeof error !== 'object' || error === null) return ''
  const value: unknown = Reflect.get(error, field) ?? (field === 'constraint' ? constraintName(error) : '')
  return typeof value === 'string' ? value : ''
}

/** postgres.js and PGlite name the field differently. */
const constraintName = (error: object): unknown => Reflect.get(error, 'constraint_name') ?? ''
