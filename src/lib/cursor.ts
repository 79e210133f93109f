import { invalidField } from '../errors.ts'
import { equalInConstantTime, mac } from './keys.ts'

/**
 * Keyset cursors: the sort key of the last row returned, signed, so that only a cursor issued here for the same query
 * is accepted. They hold nothing that the client has not just seen.
 */
export interface Cursors {
  /**
   * @param query names the route and its filters
   * @param key the last row's sort key, a JSON array of strings
   */
  encode(query: string, key: string): string
  /** @throws AppError invalid (422, field `cursor`) for anything that `encode` did not return for the same query */
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
        throw invalidField('cursor', 'is not a cursor of this list; send next_cursor unchanged')
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
  /** How many rows to read: one more than the page shows, to know whether another follows. */
  readonly fetch: number
  /** The sort key after which the page starts; empty for the first page. */
  readonly after: readonly string[]
  /** The page as JSON text; rows are not parsed. */
  answer(rows: readonly PageRow[]): string
}

const defaultLimit = 50

/** @param filters all other parameters of the query; a cursor is valid only with the same ones */
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
