/**
 * The store without Redis: the table `store_entries`. Each call is one statement, atomic by the lock on the key's row.
 * Expiry goes by the database's statement_timestamp(), which is constant within a statement, so no entry expires
 * halfway through one.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Database } from '../db/database.ts'
import type { Store } from './store.ts'

const live = sql`store_entries.expires_at > statement_timestamp()`
const expired = sql`store_entries.expires_at <= statement_timestamp()`
const isNoCount = sql`store_entries.value !~ '^[0-9]{1,15}$'`
const inSeconds = (seconds: number): SQL =>
  sql`statement_timestamp() + ${seconds}::double precision * interval '1 second'`

/**
 * Deletes at most `limit` expired entries, oldest first, and returns their keys. For housekeeping; calls never see
 * expired entries anyway.
 */
export const deleteExpiredEntries = (limit: number): SQL<{ key: string }> => sql<{ key: string }>`
  delete from store_entries where key in (
    select key from store_entries where ${expired}
    order by expires_at limit ${limit}::integer for update skip locked
  ) and ${expired} returning key`

/** `close` does not close `db`, which the store does not own. */
export function createTableStore(db: Database): Store {
  const run = <Row>(statement: SQL<Row>): Promise<Row[]> => db.write('system', statement)

  return {
    async get(key) {
      const rows = await db.read(
        'system',
        sql<{ value: string }>`select value from store_entries where key = ${key} and ${live}`,
      )
      return rows[0]?.value ?? null
    },

    async set(key, value, ttlSeconds) {
      await run(sql`
        insert into store_entries (key, value, expires_at) values (${key}, ${value}, ${inSeconds(ttlSeconds)})
        on conflict (key) do update set value = excluded.value, expires_at = excluded.expires_at`)
    },

    async delete(key) {
      const rows = await run(
        sql<{ live: boolean }>`delete from store_entries where key = ${key} returning ${live} as live`,
      )
      return rows[0]?.live === true
    },

    async compareAndSet(key, expected, next, ttlSeconds) {
      const rows = await run(exchange(key, expected, next, ttlSeconds))
      return rows.length === 1
    },

    async increment(key, ttlSeconds) {
      const [row] = await run(sql<{ count: number; expires_in_ms: number }>`
        insert into store_entries (key, value, expires_at) values (${key}, '1', ${inSeconds(ttlSeconds)})
        on conflict (key) do update set
          value = case when ${expired} or ${isNoCount} then '1' else (store_entries.value::bigint + 1)::text end,
          expires_at = case when ${expired} then excluded.expires_at else store_entries.expires_at end
        returning value::double precision as count,
          extract(epoch from expires_at - statement_timestamp())::double precision * 1000 as expires_in_ms`)
      if (!row) throw new Error('an upsert of store_entries returned no row')
      // Of calls at the same moment, one may have read the clock before another that made the entry.
      const expiresInMs = Math.min(Math.max(0, Math.round(row.expires_in_ms)), ttlSeconds * 1000)
      return { count: row.count, expiresInMs }
    },

    async ping() {
      await db.read('system', sql`select 1`)
    },

    close: async () => undefined,
  }
}

/** Returns one row if it was exchanged. */
function exchange(key: string, expected: string | null, next: string | null, ttlSeconds: number): SQL {
  if (expected === null && next === null)
    return sql`select 1 as done where not exists (select from store_entries where key = ${key} and ${live})`
  if (expected === null)
    return sql`
      insert into store_entries (key, value, expires_at) values (${key}, ${next}, ${inSeconds(ttlSeconds)})
      on conflict (key) do update set value = excluded.value, expires_at = excluded.expires_at
      where ${expired} returning 1 as done`
  const held = sql`key = ${key} and value = ${expected} and ${live}`
  if (next === null) return sql`delete from store_entries where ${held} returning 1 as done`
  return sql`
    update store_entries set value = ${next}, expires_at = ${inSeconds(ttlSeconds)}
    where ${held} returning 1 as done`
}
