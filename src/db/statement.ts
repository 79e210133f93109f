/**
 * The form in which statements and values go to and from a driver, the same for both. Statements are text with
 * $1, $2, …, and parameters text, so that no driver guesses types. Columns come back as JavaScript values for bool, json
 * and jsonb, as numbers for integers (bigint too) and floats, and as PostgreSQL's text for all else (uuid, numeric,
 * times, arrays).
 */
import type { SQL } from 'drizzle-orm'
import { PgDialect } from 'drizzle-orm/pg-core'
import type { TransactionKind } from './database.ts'

export const beginSql: Readonly<Record<TransactionKind, string>> = {
  'read write': 'begin read write',
  snapshot: 'begin isolation level repeatable read, read only',
}

export interface Statement {
  readonly text: string
  readonly parameters: (string | null)[]
}

const dialect = new PgDialect()

/** @throws TypeError for a parameter without a text form of its own: undefined, an array, an object */
export function compileStatement(statement: SQL): Statement {
  const { sql: text, params } = dialect.sqlToQuery(statement)
  return { text, parameters: params.map(parameterText) }
}

// Refused here, because a parameter on which the driver threw midway would leave its pipeline out of step.
function parameterText(value: unknown, index: number): string | null {
  if (value === null) return null
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint')
    return String(value)
  if (value instanceof Date) return value.toISOString()
  throw new TypeError(`Parameter $${index + 1} is ${typeof value}; pass arrays and objects as JSON text`)
}

export const asText = (value: string): string => value

const parseJson = (value: string): unknown => JSON.parse(value)
const parseBoolean = (value: string): boolean => value === 't'

/** By type OID; columns of other types stay text. */
export const columnParsers: Readonly<Record<number, (value: string) => unknown>> = {
  16: parseBoolean,
  20: Number,
  21: Number,
  23: Number,
  26: Number,
  114: parseJson,
  700: Number,
  701: Number,
  3802: parseJson,
}
