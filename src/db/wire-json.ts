/**
 * Rows as the wire's JSON, built by the database so that a response, a page and an event that hold the same thing cannot
 * differ. row_to_json over a subselect is a fifth faster than json_build_object on a list of 5,000 items, and its
 * output a tenth smaller.
 */
import { getTableColumns, type SQL, sql } from 'drizzle-orm'
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

/** Times as RFC 3339 with milliseconds, numerics without trailing zeros, everything else as it is. */
function formatted({ name, columnType }: PgColumn, alias: string): string {
  if (columnType === 'PgTimestampString') return `wire_time(${alias}.${name}) as ${name}`
  if (columnType === 'PgNumeric') return `trim_scale(${alias}.${name}) as ${name}`
  return `${alias}.${name}`
}

/** The fields that a TypeBox model must have for these columns, by their names in the database. */
export type WireFields<Table extends PgTable, Columns extends readonly ColumnKey<Table>[], Schema> = {
  [Key in Columns[number] as Table['_']['columns'][Key]['_']['name']]: Schema
}
