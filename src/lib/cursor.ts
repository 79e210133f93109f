import { invalidField } from '../errors.ts'
import { equalInConstantTime, mac } from './keys.ts'

/**
 * Keyset cursors: the sort key of the last row given out, signed, so that only a cursor made here, for this very
 * query, is taken back. They hold nothing the client has not just seen.
 */
export interface Cursors {
  /** `query` names the route and its filters; `key` is the last row's sort key, a JSON array of strings. */
  encode(query: string, key: string): string
  /** @throws AppError invalid (422, field `cursor`) for anything not made by `encode` with the same query. */
  decode(query: string, cursor: string): string[]
}

const macLength = 22

export function createCursors(key: Buffer): Cursors {
  const sign = (query: string, body: string): string => mac(key, `${query}\n${body}`).slice(0, macLength)
  return {
    encode(query, sortKey) {
      const body = Buffer.from(sortKey).toString('base64url')
      return `${body}.${sign(query, body)}`
    },
    decode(query, cursor) {
      const [body = '', signature = '', ...rest] = cursor.split('.')
      if (rest.length > 0 || !equalInConstantTime(signature, sign(query, body)))
        throw invalidField('cursor', 'is not a cursor of this list; take next_cursor as it was given')
      const parts: unknown = JSON.parse(Buffer.from(body, 'base64url').toString())
      return Array.isArray(parts) ? parts.map(String) : []
    },
  }
}

/** One row of a page: its representation and its sort key, both as JSON text from the database. */
export interface PageRow {
  body: string
  key: string
}

export interface Page {
  /** How many rows to ask the database for: one more than are shown, to know whether there is a next page. */
  readonly fetch: number
  /** The sort key after which the page begins; empty for the first page. */
  readonly after: readonly string[]
  /** The wire's page as JSON text. Nothing in it is parsed and written again. */
  answer(rows: readonly PageRow[]): string
}

const defaultLimit = 50

/** @param filters everything else the query was asked with; a cursor is good for the very same only */
export function openPage(
  cursors: Cursors,
  filters: readonly unknown[],
  { limit, cursor }: { limit?: string; cursor?: string },
): Page {
  const size = limit === undefined ? defaultLimit : Number(limit)
  const query = JSON.stringify(filters)
  return {
    fetch: size + 1,
    after: cursor === undefined ? [] : cursors.decode(query, cursor),
    answer(rows) {
      const shown = rows.slice(0, size)
      const last = rows.length > size ? shown.at(-1) : undefined
      const next = last ? JSON.stringify(cursors.encode(query, last.key)) : 'null'
      return `{"data":[${shown.map((row) => row.body).join(',')}],"next_cursor":${next}}`
    },
  }
}
