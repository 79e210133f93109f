import type { Static } from '@sinclair/typebox'
import type { EventField, EventType, eventFields } from '../features/list-changes/events.ts'
import type * as lists from '../features/lists/model.ts'
import type * as protocol from '../realtime/protocol.ts'
import type { HistoryPosition, Id, Item, List, Member, Time } from './types.ts'

export type { EventType } from '../features/list-changes/events.ts'
export type { ClientMessage, ServerAnswer, SocketErrorCode } from '../realtime/protocol.ts'

export const subprotocol: typeof protocol.subprotocol = 'minimart.v1'

type Fields = typeof eventFields

interface FieldTypes {
  Item: Item
  List: List
  Member: Member
  id: Id
  names: string[]
}

/** A committed change of a list. `seq` numbers the list's events from 1 without holes. */
export type ListEvent = {
  [T in EventType]: {
    type: T
    payload: { list_id: Id } & {
      -readonly [Name in keyof Fields[T]]: FieldTypes[Fields[T][Name] & EventField]
    }
    seq: number
    position: HistoryPosition
    action_id: Id | null
    at: Time
    actor_id: Id
  }
}[EventType]

export type Events = Omit<Static<typeof lists.Events>, 'data'> & { data: ListEvent[] }

export type ServerMessage = protocol.ServerAnswer | ListEvent

/** Only events have a `seq` of their own. */
export const isEvent = (message: ServerMessage): message is ListEvent => 'seq' in message

/** Null for what is not a message. Its `type` may be one that only newer clients know. */
export function parseServerMessage(data: unknown): ServerMessage | null {
  if (typeof data !== 'string') return null
  try {
    const value: unknown = JSON.parse(data)
    return isMessage(value) ? value : null
  } catch {
    return null
  }
}

/** Checks only what dispatching relies on: the server validates what it sends. */
const isMessage = (value: unknown): value is ServerMessage =>
  typeof value === 'object' &&
  value !== null &&
  'type' in value &&
  typeof value.type === 'string' &&
  'payload' in value &&
  typeof value.payload === 'object' &&
  value.payload !== null
