/**
 * Writers of one list take turns in this process (db/postgres/scheduler.ts), so they have to say which list they change
 * before the database does. A change of an item knows only the item: its list is remembered from its last change here.
 * Where it is not known, the write does not wait for the list's lock for long, and asks first when it finds it taken.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Caller } from '../../access/actor.ts'
import type { Database } from '../../db/database.ts'
import { isLockTimeout } from '../../db/errors.ts'
import { compileStatement } from '../../db/statement.ts'

const lockTimeoutMs = 100
const maxKnown = 20_000

/** By what names a list: its own id, or an item's. The least recently changed are forgotten. */
const known = new Map<string, string>()

/**
 * Database.write for statements of which the first locks the list's row.
 * @param list its id, as an expression
 */
export async function writeInTurn<Row extends { listId: string | null }>(
  db: Database,
  actor: Caller,
  list: SQL,
  statements: [SQL, SQL<Row>],
): Promise<Row | undefined> {
  const name = compileStatement(list).parameters.join(' ')
  const row = known.get(name)
  const write = () =>
    db.write({ ...actor, row: row ?? name, ...(row ? {} : { lockTimeoutMs }) }, ...statements)
  const writeAfterAsking = async (error: unknown): Promise<Row[]> => {
    if (!isLockTimeout(error)) throw error
    const [found] = await db.read(actor, sql<{ id: string | null }>`select ${list} as id`)
    return await db.write({ ...actor, row: found?.id ?? name }, ...statements)
  }
  const [changed] = await write().catch(writeAfterAsking)
  if (changed?.listId) remember(name, changed.listId)
  return changed
}

function remember(name: string, listId: string): void {
  // Deleted first, so that the map stays ordered by last use.
  known.delete(name)
  known.set(name, listId)
  const { value: oldest } = known.keys().next()
  if (known.size > maxKnown && oldest !== undefined) known.delete(oldest)
}
