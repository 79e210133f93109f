/** One subscriber's copy of one list, built from events alone, and strict about their sequence numbers. */
import { isRecord } from '../../support/json-schema.ts'

export interface Incoming {
  type: string
  id?: string
  seq?: number
  payload: Record<string, unknown>
}

export interface Snapshot {
  seq: number
  name: string
  items: Record<string, unknown>[]
}

export interface Replica {
  readonly listId: string
  /** The last sequence number seen. */
  seq(): number
  apply(event: Incoming): void
  /** How it differs from the API's state; empty if it does not. */
  differences(truth: Snapshot): string[]
}

/** @param from null: from the list's creation */
export function createReplica(
  listId: string,
  from: Snapshot | null,
  problem: (text: string) => void,
): Replica {
  let seq = from?.seq ?? 0
  let name = from?.name ?? null
  const items = new Map((from?.items ?? []).map((item) => [String(item['id']), item]))

  const applyItem = (event: Incoming): void => {
    const { item } = event.payload
    const id = String(isRecord(item) ? item['id'] : event.payload['item_id'])
    if (items.has(id) !== (event.type !== 'item_added'))
      problem(`${event.type} ${event.seq} of ${id} comes amiss`)
    if (isRecord(item)) items.set(id, item)
    else items.delete(id)
  }

  return {
    listId,
    seq: () => seq,
    apply(event) {
      if (event.seq !== seq + 1) problem(`after ${seq} came ${event.seq} (${event.type} of ${listId})`)
      seq = event.seq ?? seq
      if (event.type.startsWith('item_')) applyItem(event)
      const { list } = event.payload
      if (isRecord(list)) name = String(list['name'])
    },
    differences(truth) {
      const faults: string[] = []
      if (seq !== truth.seq) faults.push(`is at ${seq}, not ${truth.seq}`)
      if (name !== null && name !== truth.name) faults.push(`is named ${name}, not ${truth.name}`)
      for (const item of truth.items)
        if (!Bun.deepEquals(items.get(String(item['id'])), item)) faults.push(`differs in item ${item['id']}`)
      if (items.size !== truth.items.length) faults.push(`has ${items.size} items, not ${truth.items.length}`)
      return faults
    },
  }
}

/** @throws Error for anything that is not a message of the protocol */
export function readMessage(text: unknown): Incoming {
  const value: unknown = typeof text === 'string' ? JSON.parse(text) : null
  if (!isRecord(value)) throw new Error('a frame that is not a message')
  const { type, id, seq, payload } = value
  if (typeof type !== 'string' || !isRecord(payload)) throw new Error('a message without type or payload')
  return {
    type,
    payload,
    ...(typeof id === 'string' ? { id } : {}),
    ...(typeof seq === 'number' ? { seq } : {}),
  }
}
