/**
 * Writers of one list take turns in this process (db/postgres/scheduler.ts), so they have to say which list they change
 * before the database does. A change of an item knows only the item: its list is remembered from its last change here,
 * and asked for where it is not known and the list turns out to be locked.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Caller } from '../../access/actor.ts'
import type { Database } from '../../db/database.ts'
import { forService } from '../../db/shares.ts'
import { compileStatement } from '../../db/statement.ts'

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
  const given = compileStatement(list).parameters.join(' ')
  const listId = known.get(given)
  const row =
    listId === undefined ? { name: given, find: () => findList(db, actor, list, given) } : { name: listId }
  const [changed] = await db.write({ ...actor, row }, ...statements)
  if (changed?.listId) remember(given, changed.listId)
  return changed
}

async function findList(db: Database, actor: Caller, list: SQL, given: string): Promise<string> {
  const statement = sql<{ id: string | null }>`select ${list} as id`
  // Part of a call that has its share of the queue already.
  const [found] = await forService(() => db.read(actor, statement))
  return found?.id ?? given
}

function remember(given: string, listId: string): void {
  // Deleted first, so that the map stays ordered by last use.
  known.delete(given)
  known.set(given, listId)
  const { value: oldest } = known.keys().next()
  if (known.size > maxKnown && oldest !== undefined) known.delete(oldest)
}
