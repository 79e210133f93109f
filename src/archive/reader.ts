/** Reads an archive (format.ts) and lets nothing through that is not as an export writes it. */

import { createHash } from 'node:crypto'
import { Type } from '@sinclair/typebox'
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler'
import { platformTenantId } from '../db/schema.ts'
import { OperatorError } from '../errors.ts'
import { version as program } from '../version.ts'
import {
  archiveTables,
  archiveVersion,
  columnsOf,
  Header,
  isTableName,
  noRows,
  type RowCounts,
  type TableName,
  tableNames,
} from './format.ts'
import { type Line, linesOf, refusedLine } from './lines.ts'

export interface ArchiveRow {
  /** Of its line, from 1. */
  number: number
  table: TableName
  /** The line: the row as JSON, `table` beside its columns. */
  text: string
}

export interface Archive {
  header: Header
  /** Every row, once. Ends only when the trailer fits what came before it. @throws OperatorError */
  rows: AsyncGenerator<ArchiveRow>
  /** What the trailer said, once the rows have ended. */
  counts: RowCounts
}

/** Reads the header. @throws OperatorError when this is no archive, or one of a format this program does not know */
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
    throw new OperatorError('This is no MiniMart archive: its first line is not the header of one.')
  if (header['version'] !== archiveVersion) throw otherVersion(header)
  if (!Header.Check(header)) throw refusedLine(1, 'is not the header of an archive')
  if (header.tenant.id === platformTenantId) throw refusedLine(1, 'names the tenant of the platform itself')
  return { ...header, version: archiveVersion }
}

function otherVersion({ version, program: writer }: Record<string, unknown>): OperatorError {
  const known = typeof writer === 'string' && /^[\w.+-]{1,32}$/.test(writer)
  const format = Number.isSafeInteger(version) ? `format ${version}` : 'an unknown format'
  return new OperatorError(
    `This archive is in ${format}; this program (MiniMart ${program}) reads format ${archiveVersion}. ` +
      `Import it with ${known ? `MiniMart ${writer}, which wrote it, or a later one` : 'the release that wrote it'}.`,
  )
}

async function* readRows(
  lines: AsyncGenerator<Line>,
  first: Line,
  { tenant, credentials }: Header,
  counts: RowCounts,
): AsyncGenerator<ArchiveRow> {
  const hash = createHash('sha256').update(`${first.text}\n`)
  const inPlace = orderCheck()
  const check = rowCheck(credentials)
  let ended = false
  let last = first.number
  for await (const { number, text } of lines) {
    if (ended) throw refusedLine(number, 'stands behind the end of the archive')
    last = number
    const row = parse(text)
    if (row === null) throw refusedLine(number, 'is no JSON object')
    if (row['minimart'] === 'end') {
      ensureWhole(row, counts, hash.digest('hex'))
      ended = true
      continue
    }
    const { table } = row
    if (!isTableName(table)) throw refusedLine(number, 'is a row of no table that this program knows')
    check(number, table, row)
    inPlace(number, table, row)
    ensureOwn(number, table, row, tenant.id)
    hash.update(`${text}\n`)
    counts[table] += 1
    yield { number, table, text }
  }
  if (!ended) throw new OperatorError(`The archive is cut off: its end is missing after line ${last}.`)
}

function ensureWhole(trailer: Record<string, unknown>, counts: RowCounts, sha256: string): void {
  const rows = trailer['rows']
  const asTold = (table: TableName): boolean =>
    typeof rows === 'object' && rows !== null && Reflect.get(rows, table) === counts[table]
  if (!tableNames.every(asTold))
    throw new OperatorError('The archive is not whole: it holds other numbers of rows than its end says.')
  if (trailer['sha256'] !== sha256)
    throw new OperatorError('The archive was changed after it was written: its checksum does not fit.')
}

/** Every column must be there, as it should be, and no other. */
function rowCheck(credentials: boolean) {
  const checks = new Map<TableName, TypeCheck<ReturnType<typeof rowSchema>>>()
  return (number: number, table: TableName, row: object): void => {
    const check = checks.get(table) ?? TypeCompiler.Compile(rowSchema(table, credentials))
    checks.set(table, check)
    if (check.Check(row)) return
    const names = columnsOf(table, credentials).map(([name]) => name)
    const stranger = Object.keys(row).find((name) => name !== 'table' && !names.includes(name))
    if (stranger !== undefined) throw refusedLine(number, `has a column that ${table} does not have`)
    const missing = names.find((name) => !Object.hasOwn(row, name))
    if (missing !== undefined) throw refusedLine(number, `lacks the column ${missing} of ${table}`)
    const fault = check.Errors(row).First()
    throw refusedLine(
      number,
      `is no row of ${table}: ${fault?.path.split('/')[1]} ${fault?.schema['expects']}`,
    )
  }
}

const rowSchema = (table: TableName, credentials: boolean) =>
  Type.Object(
    {
      table: Type.Literal(table),
      ...Object.fromEntries(columnsOf(table, credentials).map(([name, { schema }]) => [name, schema])),
    },
    { additionalProperties: false },
  )

/** What no key of the database would notice. */
function ensureOwn(number: number, table: TableName, row: Record<string, unknown>, tenantId: string): void {
  if (table === 'tenants' && row['id'] !== tenantId)
    throw refusedLine(number, 'is another tenant than the header names')
  const { payload } = row
  if (table === 'list_events' && !(isRecord(payload) && payload['list_id'] === row['list_id']))
    throw refusedLine(number, 'is an event that tells of another list')
}

/** Tables one after the other, rows by their key: so no row can come twice. */
function orderCheck() {
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
        `does not come after the ${table} row before it: rows stand in order, each once`,
      )
    previous = key
  }
}

/** Ids by their text, which is their order in the database too; numbers as numbers. */
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
