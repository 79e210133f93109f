/**
 * What travels between a Drizzle `sql` template and a driver: text with $1, $2, … and parameters as text, so that
 * both drivers send the same bytes and neither guesses types. Answers are read alike on both as well:
 * bool, json and jsonb as JavaScript values, integers (bigint too) and floats as numbers, everything else
 * (uuid, numeric, times, arrays) as the text PostgreSQL writes.
 */
import type { SQL } from 'drizzle-orm'
import { PgDialect } from 'drizzle-orm/pg-core'
import type { TransactionKind } from './database.ts'

/** How each kind of transaction begins. */
export const beginOf: Readonly<Record<TransactionKind, string>> = {
  'read write': 'begin read write',
  snapshot: 'begin isolation level repeatable read, read only',
}

export interface Statement {
  readonly text: string
  readonly parameters: (string | null)[]
}

const dialect = new PgDialect()

/** @throws TypeError for a parameter that has no text form of its own: undefined, an array, an object. */
export function compileStatement(statement: SQL): Statement {
  const { sql: text, params } = dialect.sqlToQuery(statement)
  return { text, parameters: params.map(parameterText) }
}

// A parameter that made the driver throw half-way would leave its pipeline out of step, so all are settled here.
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

/** By type oid; columns of types not named here stay text. */
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
