/** What can happen on a list: the types of event and what each carries, stated once for all who write or read them. */

/**
 * The fields of each type's payload beside `list_id`: a representation as the API returns it, an id, or the names of
 * the fields that changed.
 */
export const eventFields = {
  item_added: { item: 'Item' },
  item_updated: { item: 'Item', changed: 'names' },
  item_deleted: { item_id: 'id' },
  member_joined: { member: 'Member' },
  member_updated: { member: 'Member' },
  member_left: { user_id: 'id' },
  member_removed: { user_id: 'id' },
  list_updated: { list: 'List' },
  list_deleted: { list: 'List' },
  list_restored: { list: 'List' },
} as const satisfies Record<string, Record<string, EventField>>

export type EventField = 'Item' | 'List' | 'Member' | 'id' | 'names'

export type EventType = keyof typeof eventFields

export const eventTypes = Object.keys(eventFields) as EventType[]

export interface ListKey {
  tenantId: string
  listId: string
}

/** A committed event as instances pass it on. */
export interface ListEvent {
  seq: number
  /** Of its position (lib/history-position.ts). */
  mark: string
  /** The mark of the event before it. */
  previous: string
  type: string
  /** The user a member event is about. */
  userId: string | null
  /** The whole event as JSON, just as sockets get it. */
  text: string
}

/** @param events in order, without holes @param last the mark of the event before the first */
export const chain = (last: string, events: readonly Omit<ListEvent, 'previous'>[]): ListEvent[] =>
  events.map((event, index) => ({ ...event, previous: events[index - 1]?.mark ?? last }))
