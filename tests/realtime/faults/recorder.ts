/**
 * Records every write sent and whether it was acknowledged, and compares them with the database in the end: each
 * acknowledged one is there once, with exactly one event. An unacknowledged one may be there, once, or not.
 */
import type postgres from 'postgres'

export interface Write {
  kind: 'add' | 'change' | 'delete'
  listId: string
  itemId: string
  /** A name unique to this write; empty for a deletion. */
  name: string
  acknowledged: boolean
}

export interface Recorder {
  begin(write: Omit<Write, 'acknowledged'>): Write
  /** Reports a violation of an invariant. */
  problem(text: string): void
  readonly problems: readonly string[]
  readonly writes: readonly Write[]
  retries: number
}

const maxProblems = 40

export function createRecorder(): Recorder {
  const writes: Write[] = []
  const problems: string[] = []
  return {
    begin(write) {
      const begun = { ...write, acknowledged: false }
      writes.push(begun)
      return begun
    },
    problem(text) {
      if (problems.length < maxProblems) problems.push(text)
    },
    problems,
    writes,
    retries: 0,
  }
}

type Sql = postgres.Sql<Record<string, never>>

export async function checkWrites(sql: Sql, listIds: readonly string[], recorder: Recorder): Promise<void> {
  for (const listId of listIds)
    await checkList(
      sql,
      listId,
      recorder.writes.filter((write) => write.listId === listId),
      recorder,
    )
}

interface EventRow {
  seq: string
  type: string
  itemId: string | null
  name: string | null
}

const keyOf = (kind: string, itemId: string | null, name: string | null): string =>
  `${kind} ${itemId} ${name ?? ''}`
const kindOf: Record<string, Write['kind']> = {
  item_added: 'add',
  item_updated: 'change',
  item_deleted: 'delete',
}

async function checkList(sql: Sql, listId: string, writes: Write[], { problem }: Recorder): Promise<void> {
  const events = await sql<EventRow[]>`
    select seq, type, coalesce(payload -> 'item' ->> 'id', payload ->> 'item_id') as "itemId",
      payload -> 'item' ->> 'name' as name
    from list_events where list_id = ${listId} order by seq`
  const rows = await sql<{ id: string; deleted: boolean }[]>`
    select id, deleted_at is not null as deleted from items where list_id = ${listId}`
  const [list] = await sql<{ seq: string }[]>`select seq from shopping_lists where id = ${listId}`

  const hole = events.findIndex(({ seq }, index) => Number(seq) !== index + 1)
  if (hole >= 0) problem(`list_events of ${listId}: a hole or a double before ${events[hole]?.seq}`)
  if (Number(list?.seq) !== events.length)
    problem(`list ${listId} is at ${list?.seq} with ${events.length} events`)

  const found = new Map<string, number>()
  for (const { type, itemId, name } of events) {
    const kind = kindOf[type]
    if (kind) found.set(keyOf(kind, itemId, name), (found.get(keyOf(kind, itemId, name)) ?? 0) + 1)
  }
  for (const write of writes) {
    const key = keyOf(write.kind, write.itemId, write.name)
    const times = found.get(key) ?? 0
    found.delete(key)
    if (times > 1 || (write.acknowledged && times !== 1))
      problem(`${key}: ${times} events, ${write.acknowledged ? 'acknowledged' : 'never acknowledged'}`)
  }
  for (const key of found.keys()) problem(`event without a write: ${key}`)
  checkRows(rows, writes, problem)
}

function checkRows(
  rows: readonly { id: string; deleted: boolean }[],
  writes: Write[],
  problem: Recorder['problem'],
): void {
  const deleted = new Map<string, boolean>()
  for (const row of rows) {
    if (deleted.has(row.id)) problem(`item ${row.id} has two rows`)
    deleted.set(row.id, row.deleted)
  }
  const removals = new Map(
    writes.filter(({ kind }) => kind === 'delete').map((write) => [write.itemId, write]),
  )
  for (const { itemId, acknowledged } of writes.filter(({ kind }) => kind === 'add')) {
    const isDeleted = deleted.get(itemId)
    const removal = removals.get(itemId)
    if (acknowledged && isDeleted === undefined) problem(`item ${itemId} was acknowledged and is lost`)
    if (isDeleted && !removal) problem(`item ${itemId} is deleted, but no one deleted it`)
    if (isDeleted === false && removal?.acknowledged) problem(`item ${itemId} should be deleted`)
  }
}
