/** Reads an archive (format.ts) and refuses everything that an export would not have written. */

import { createHash } from 'node:crypto'
import { Type } from '@sinclair/typebox'
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler'
import { platformTenantId } from '../db/schema.ts'
import { OperatorError } from '../errors.ts'
import { version as program } from '../version.ts'
import {
  archiveTables,
  archiveVersion,
  columnsIn,
  Header,
  isTableName,
  noRows,
  type RowCounts,
  type TableName,
  Trailer,
  tableNames,
} from './format.ts'
import { type Line, linesOf, refusedLine } from './lines.ts'

export interface ArchiveRow {
  /** Line number, from 1. */
  number: number
  table: TableName
  /** The line itself: a JSON object with `table` and the columns. */
  text: string
}

export interface Archive {
  header: Header
  /** For one pass. Ends only if the trailer matches the rows. @throws OperatorError */
  rows: AsyncGenerator<ArchiveRow>
  /** Of the rows read so far; verified against the trailer at their end. */
  counts: RowCounts
}

/** Reads the header. @throws OperatorError when this is not an archive, or has a format this release cannot read */
export async function openArchive(bytes: AsyncIterable<Uint8Array>): Promise<Archive> {
  const lines = linesOf(bytes)
  const first = await lines.next()
  if (first.done === true) throw new OperatorError('The archive is empty.')
  const header = readHeader(first.value)
  const counts = noRows()
  return { header, counts, rows: readRows(lines, first.value, header, counts) }
}

function readHeader({ text }: Line): Header {
  const header = parse(text)
  if (header?.['minimart'] !== 'archive')
    throw new OperatorError('This is not a MiniMart archive: its first line is not a header.')
  if (header['version'] !== 1 && header['version'] !== archiveVersion) throw otherVersion(header)
  if (!Header.Check(header)) throw refusedLine(1, 'is not a valid header')
  if (header.tenant.id === platformTenantId) throw refusedLine(1, 'names the platform itself as the tenant')
  return header
}

function otherVersion({ version, program: writer }: Record<string, unknown>): OperatorError {
  const known = typeof writer === 'string' && /^[\w.+-]{1,32}$/.test(writer)
  const format = Number.isSafeInteger(version) ? `format ${version}` : 'an unknown format'
  return new OperatorError(
    `This archive has ${format}; this release (MiniMart ${program}) reads formats up to ${archiveVersion}. ` +
      `Import it with ${known ? `MiniMart ${writer}, which wrote it, or a later one` : 'the release that wrote it'}.`,
  )
}

async function* readRows(
  lines: AsyncGenerator<Line>,
  first: Line,
  header: Header,
  counts: RowCounts,
): AsyncGenerator<ArchiveRow> {
  const hash = createHash('sha256').update(`${first.text}\n`)
  const checkOrder = createOrderCheck()
  const checkRow = createRowCheck(header)
  let ended = false
  let last = first.number
  for await (const { number, text } of lines) {
    if (ended) throw refusedLine(number, 'comes after the end of the archive')
    last = number
    const row = parse(text)
    if (row === null) throw refusedLine(number, 'is not a JSON object')
    if (row['minimart'] === 'end') {
      ensureComplete(number, row, counts, hash.digest('hex'))
      ended = true
      continue
    }
    const { table } = row
    if (!isTableName(table)) throw refusedLine(number, 'is a row of a table that this release does not know')
    checkRow(number, table, row)
    checkOrder(number, table, row)
    ensureOwn(number, table, row, header.tenant.id)
    hash.update(`${text}\n`)
    counts[table] += 1
    yield { number, table, text }
  }
  if (!ended) throw new OperatorError(`The archive is cut off: its end is missing after line ${last}.`)
}

function ensureComplete(number: number, trailer: object, counts: RowCounts, sha256: string): void {
  if (!Trailer.Check(trailer)) throw refusedLine(number, 'is not a valid end')
  // Releases that did not have a table do not count it.
  if (!tableNames.every((table) => (trailer.rows[table] ?? 0) === counts[table]))
    throw new OperatorError(
      'The archive is incomplete: its numbers of rows do not match those in its last line.',
    )
  if (trailer.sha256 !== sha256)
    throw new OperatorError('The archive was changed after it was written: its checksum does not match.')
}

/** Every column must be present and valid, and there may be no others. */
function createRowCheck(header: Header) {
  const checks = new Map<TableName, TypeCheck<ReturnType<typeof rowSchema>>>()
  return (number: number, table: TableName, row: object): void => {
    const check = checks.get(table) ?? TypeCompiler.Compile(rowSchema(header, table))
    checks.set(table, check)
    if (check.Check(row)) return
    const names = columnsIn(header, table).map(([name]) => name)
    const unknown = Object.keys(row).find((name) => name !== 'table' && !names.includes(name))
    if (unknown !== undefined) throw refusedLine(number, `has a column that ${table} does not have`)
    const missing = names.find((name) => !Object.hasOwn(row, name))
    if (missing !== undefined) throw refusedLine(number, `lacks the column ${missing} of ${table}`)
    const fault = check.Errors(row).First()
    throw refusedLine(
      number,
      `is not a row of ${table}: ${fault?.path.split('/')[1]} ${fault?.schema['expects']}`,
    )
  }
}

const rowSchema = (header: Header, table: TableName) =>
  Type.Object(
    {
      table: Type.Literal(table),
      ...Object.fromEntries(columnsIn(header, table).map(([name, { schema }]) => [name, schema])),
    },
    { additionalProperties: false },
  )

/** What no key in the database would catch. */
function ensureOwn(number: number, table: TableName, row: Record<string, unknown>, tenantId: string): void {
  if (table === 'tenants' && row['id'] !== tenantId)
    throw refusedLine(number, 'is a tenant other than the header names')
  const { payload } = row
  if (table === 'list_events' && !(isRecord(payload) && payload['list_id'] === row['list_id']))
    throw refusedLine(number, 'is an event whose payload belongs to another list')
}

/** Tables in their order and rows by their key, so that no row can appear twice. */
function createOrderCheck() {
  let current: TableName = 'tenants'
  let previous: unknown[] | null = null
  return (number: number, table: TableName, row: Readonly<Record<string, unknown>>): void => {
    if (table !== current) {
      if (tableNames.indexOf(table) < tableNames.indexOf(current))
        throw refusedLine(number, `is a row of ${table} after those of ${current}`)
      current = table
      previous = null
    }
    const key = archiveTables[table].key.map((column) => row[column])
    if (previous !== null && !isBefore(previous, key))
      throw refusedLine(
        number,
        `does not sort after the ${table} row before it: rows are sorted by key, each once`,
      )
    previous = key
  }
}

/** Ids compare as text, as they do in the database; numbers as numbers. */
function isBefore(left: unknown[], right: unknown[]): boolean {
  const place = left.findIndex((value, index) => value !== right[index])
  const [a, b] = [left[place], right[place]]
  if (typeof a === 'string' && typeof b === 'string') return a < b
  return typeof a === 'number' && typeof b === 'number' && a < b
}

function parse(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) ? value : null
  } catch {
    return null
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
