/**
 * Rows as the wire's JSON, built by the database so that a response, a page and an event that hold the same thing cannot
 * differ. row_to_json over a subselect is a fifth faster than json_build_object on a list of 5,000 items, and its
 * output a tenth smaller.
 */
import { getTableColumns, getTableName, type SQL, sql } from 'drizzle-orm'
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core'

/** @param columns a select list whose column names become the fields */
export const rowJson = (columns: SQL): SQL => sql`(select row_to_json(r) from (select ${columns}) r)`

type ColumnKey<Table extends PgTable> = keyof Table['_']['columns'] & string

/** A select list of `columns`, by their keys in schema.ts, of the row with this alias, formatted for the wire. */
export function wireColumns<Table extends PgTable>(
  table: Table,
  alias: string,
  ...columns: readonly ColumnKey<Table>[]
): SQL {
  const all: Record<string, PgColumn> = getTableColumns(table)
  return sql.raw(
    columns
      .flatMap((key) => all[key] ?? [])
      .map((column) => formatted(column, alias))
      .join(', '),
  )
}

/** The columns with these names. @throws Error for a name that no column has, when the program starts */
export const columnsNamed = (table: PgTable, names: readonly string[]): PgColumn[] =>
  names.map((name) => {
    const column = Object.values<PgColumn>(getTableColumns(table)).find((one) => one.name === name)
    if (!column) throw new Error(`${getTableName(table)} has no column ${name}`)
    return column
  })

/** Times in RFC 3339 with milliseconds; numbers without trailing zeros; everything else as it is. */
function formatted({ name, columnType }: PgColumn, alias: string): string {
  if (columnType === 'PgTimestampString') return `wire_time(${alias}.${name}) as ${name}`
  if (columnType === 'PgNumeric') return `trim_scale(${alias}.${name}) as ${name}`
  return `${alias}.${name}`
}

/** The names on the wire, and in the database, of these columns: what a model of the wire has as its fields. */
export type WireName<
  Table extends PgTable,
  Columns extends readonly ColumnKey<Table>[],
> = Table['_']['columns'][Columns[number]]['_']['name']
