/** What travels on the socket, protocol version 1, and reading it. */
import type { EventField, EventType, eventFields } from '../features/list-changes/events.ts'
import type { Id, Item, List, Member, Time } from './types.ts'

export const subprotocol = 'minimart.v1'

export type { EventType } from '../features/list-changes/events.ts'

type Fields = typeof eventFields

interface FieldTypes {
  Item: Item
  List: List
  Member: Member
  id: Id
  names: string[]
}

/** A committed change of a list. `seq` counts the list's events from 1 without holes. */
export type ListEvent = {
  [T in EventType]: {
    type: T
    payload: { list_id: Id } & {
      -readonly [Name in keyof Fields[T]]: FieldTypes[Fields[T][Name] & EventField]
    }
    seq: number
    at: Time
    actor_id: Id
  }
}[EventType]

export interface Events {
  data: ListEvent[]
  /** Number of the last event there is. */
  seq: number
  complete: boolean
}

export type ClientMessage =
  | { type: 'subscribe'; payload: { list_id: Id; since?: number }; id?: string }
  | { type: 'unsubscribe'; payload: { list_id: Id }; id?: string }
  | { type: 'authenticate'; payload: { token: string }; id?: string }
  | { type: 'ping'; payload?: Record<string, never>; id?: string }

export type SocketErrorCode =
  | 'invalid_message'
  | 'unknown_type'
  | 'token_invalid'
  | 'not_found'
  | 'too_many_subscriptions'
  | 'rate_limited'
  | 'unavailable'

export type ServerAnswer =
  | { type: 'connected'; payload: { user_id: Id; protocol: 1; expires_at: Time }; id?: string }
  | { type: 'subscribed'; payload: { list_id: Id; seq: number; recovered: boolean }; id?: string }
  | { type: 'resync_required'; payload: { list_id: Id; seq: number }; id?: string }
  | { type: 'unsubscribed'; payload: { list_id: Id }; id?: string }
  | { type: 'authenticated'; payload: { expires_at: Time }; id?: string }
  | { type: 'token_expiring'; payload: { expires_at: Time }; id?: string }
  | { type: 'pong'; payload: Record<string, never>; id?: string }
  | { type: 'error'; payload: { code: SocketErrorCode; message: string; list_id?: Id }; id?: string }

export type ServerMessage = ServerAnswer | ListEvent

/** An event carries a number; no other message does. */
export const isEvent = (message: ServerMessage): message is ListEvent => 'seq' in message

/** Null for what is no message: a newer server may send what this client does not know. */
export function parseServerMessage(data: unknown): ServerMessage | null {
  if (typeof data !== 'string') return null
  try {
    const value: unknown = JSON.parse(data)
    return isMessage(value) ? value : null
  } catch {
    return null
  }
}

/** The server's own schemas decide what it sends; here only what the dispatch leans on is looked at. */
const isMessage = (value: unknown): value is ServerMessage =>
  typeof value === 'object' &&
  value !== null &&
  'type' in value &&
  typeof value.type === 'string' &&
  'payload' in value &&
  typeof value.payload === 'object' &&
  value.payload !== null
