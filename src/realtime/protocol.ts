/**
 * The socket's protocol, version 1: one union of schemas per direction, from which types, validation and /asyncapi.json
 * are derived. A test pins the schemas' hash to the version, so that no change goes unnoticed.
 */

import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { type EventField, type EventType, eventFields, eventTypes } from '../features/list-changes/events.ts'
import { historyPositionPattern } from '../lib/history-position.ts'
import { jsonReader } from '../lib/json.ts'
import { anyCaseUuidPattern } from '../lib/patterns.ts'

export const protocolVersion = 1
export const subprotocol = 'minimart.v1'

export const closeCodes = {
  tokenBad: { code: 4001, reason: 'token bad, expired or revoked' },
  notAllowed: { code: 4003, reason: 'not allowed' },
  tooManyMessages: { code: 4008, reason: 'too many messages' },
  silent: { code: 4010, reason: 'nothing heard for 60 seconds' },
  tooSlow: { code: 4013, reason: 'too slow: reconnect with since' },
  restarting: { code: 1012, reason: 'server restarting: reconnect with since' },
} as const
export type CloseCode = (typeof closeCodes)[keyof typeof closeCodes]

const strict = { additionalProperties: false } as const
const Id = Type.String({ pattern: anyCaseUuidPattern.source, description: "A list's id." })
const Seq = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const Position = Type.String({
  pattern: historyPositionPattern.source,
  description:
    'The event and, after the dot, a mark that tells it from another that had the number before a restore.',
  examples: ['42.9f3ac01b'],
})
const Time = Type.String({ format: 'date-time' })
const messageIdLength = 64
const MessageId = Type.Optional(
  Type.String({ maxLength: messageIdLength, description: 'Repeated in the answer to this message.' }),
)

const clientMessage = <T extends string, P extends TSchema>(type: T, payload: P, description: string) =>
  Type.Object({ type: Type.Literal(type), payload, id: MessageId }, { ...strict, title: type, description })

export const Subscribe = clientMessage(
  'subscribe',
  Type.Object({ list_id: Id, since: Type.Optional(Type.Union([Position, Seq])) }, strict),
  'Receive the events of a list; with `since`, first those after that `position` or, less exactly, that `seq`.',
)
export const Unsubscribe = clientMessage(
  'unsubscribe',
  Type.Object({ list_id: Id }, strict),
  'Stop receiving the events of a list.',
)
export const Authenticate = clientMessage(
  'authenticate',
  Type.Object({ token: Type.String({ maxLength: 4096 }) }, strict),
  'A newer token of the same user, so that the socket outlives the old one.',
)
export const Ping = Type.Object(
  { type: Type.Literal('ping'), payload: Type.Optional(Type.Object({}, strict)), id: MessageId },
  { ...strict, title: 'ping', description: 'Answered with `pong`.' },
)

export const ClientMessage = Type.Union([Subscribe, Unsubscribe, Authenticate, Ping])
export type ClientMessage = Static<typeof ClientMessage>

const serverMessage = <T extends string, P extends TSchema>(type: T, payload: P, description: string) =>
  Type.Object({ type: Type.Literal(type), payload, id: MessageId }, { ...strict, title: type, description })

export const errorCodes = [
  'invalid_message',
  'unknown_type',
  'token_invalid',
  'not_found',
  'too_many_subscriptions',
  'rate_limited',
  'unavailable',
] as const
export type SocketErrorCode = (typeof errorCodes)[number]

export const Connected = serverMessage(
  'connected',
  Type.Object({
    user_id: Type.String({ format: 'uuid' }),
    protocol: Type.Literal(protocolVersion),
    version: Type.String({ description: "The program's." }),
    expires_at: Time,
  }),
  'The first message. The token is valid until `expires_at`.',
)
export const Subscribed = serverMessage(
  'subscribed',
  Type.Object({ list_id: Id, seq: Seq, position: Position, recovered: Type.Boolean() }),
  'Events after `seq` follow; with `recovered`, all after `since`.',
)
export const ResyncRequired = serverMessage(
  'resync_required',
  Type.Object({ list_id: Id, seq: Seq, position: Position }),
  'Events are missing, or the list was restored to an earlier state: read the list again. Events after `seq` follow.',
)
export const Unsubscribed = serverMessage(
  'unsubscribed',
  Type.Object({ list_id: Id }),
  'No more events of the list follow: you unsubscribed, or may no longer see it.',
)
export const Authenticated = serverMessage(
  'authenticated',
  Type.Object({ expires_at: Time }),
  'The newer token is in force.',
)
export const TokenExpiring = serverMessage(
  'token_expiring',
  Type.Object({ expires_at: Time }),
  'The token expires in 60 seconds: authenticate with a newer one.',
)
export const Pong = serverMessage('pong', Type.Object({}), 'The answer to `ping`.')
export const SocketError = serverMessage(
  'error',
  Type.Object({
    code: Type.Union(errorCodes.map((code) => Type.Literal(code))),
    message: Type.String(),
    list_id: Type.Optional(Id),
    retry_after: Type.Optional(
      Type.Integer({ minimum: 1, description: 'Seconds to wait, where a subscribe is `rate_limited`.' }),
    ),
  }),
  'A message was refused; the socket stays open.',
)

/** Refers to the API's own schema, which /asyncapi.json includes under the same name. */
const representation = (name: 'Item' | 'List' | 'Member') =>
  Type.Unsafe<Record<string, unknown>>({ $ref: `#/components/schemas/${name}` })
const fieldSchemas: Record<EventField, TSchema> = {
  Item: representation('Item'),
  List: representation('List'),
  Member: representation('Member'),
  id: Type.String({ format: 'uuid' }),
  names: Type.Array(Type.String()),
}
const eventOf = (type: EventType) =>
  Type.Object(
    {
      type: Type.Literal(type),
      payload: Type.Object({
        list_id: Id,
        ...Object.fromEntries(
          Object.entries(eventFields[type]).map(([name, kind]) => [name, fieldSchemas[kind]]),
        ),
      }),
      seq: Type.Integer({ minimum: 1 }),
      position: Position,
      action_id: Type.Union([Type.String({ format: 'uuid' }), Type.Null()], {
        description: 'Shared by the events of one request; null for events of before there were action ids.',
      }),
      at: Time,
      actor_id: Type.String({ format: 'uuid' }),
    },
    { ...strict, title: type, description: 'A committed change of the list.' },
  )

export const events = eventTypes.map(eventOf)

export const ServerMessage = Type.Union([
  Connected,
  Subscribed,
  ResyncRequired,
  Unsubscribed,
  Authenticated,
  TokenExpiring,
  Pong,
  SocketError,
  ...events,
])

/** What the server sends besides events. */
export type ServerAnswer =
  | Static<typeof Connected>
  | Static<typeof Subscribed>
  | Static<typeof ResyncRequired>
  | Static<typeof Unsubscribed>
  | Static<typeof Authenticated>
  | Static<typeof TokenExpiring>
  | Static<typeof Pong>
  | Static<typeof SocketError>

/** @param id the id of the client's message that this answers */
export const encode = (message: ServerAnswer, id?: string): string =>
  JSON.stringify(id === undefined ? message : { ...message, id })

const readEnvelope = jsonReader(
  Type.Object({ type: Type.Optional(Type.Unknown()), id: Type.Optional(Type.Unknown()) }),
)
const checks = {
  subscribe: TypeCompiler.Compile(Subscribe),
  unsubscribe: TypeCompiler.Compile(Unsubscribe),
  authenticate: TypeCompiler.Compile(Authenticate),
  ping: TypeCompiler.Compile(Ping),
}

export type Parsed =
  | { ok: true; message: ClientMessage }
  | { ok: false; code: 'invalid_message' | 'unknown_type'; detail: string; id?: string }

/** Parses a text frame. The detail never repeats what the client sent, which may contain a token. */
export function parseClientMessage(text: string): Parsed {
  const value = readEnvelope(text)
  const echo = isMessageId(value?.id) ? { id: value.id } : {}
  const refuse = (code: 'invalid_message' | 'unknown_type', detail: string): Parsed => ({
    ok: false,
    code,
    detail,
    ...echo,
  })
  if (typeof value?.type !== 'string')
    return refuse('invalid_message', 'A message must be one JSON object with a type.')
  if (!isKnown(value.type)) return refuse('unknown_type', 'There is no message of this type.')
  const { id, ...message } = value
  const check = checks[value.type]
  return (id === undefined || isMessageId(id)) && check.Check(message)
    ? { ok: true, message: { ...message, ...echo } }
    : refuse('invalid_message', `This is not a valid message of type ${value.type}.`)
}

/** Counted in code points, as everywhere; the schema would count UTF-16 units. */
const isMessageId = (id: unknown): id is string => typeof id === 'string' && [...id].length <= messageIdLength

/** The id that the answer to a message must repeat, valid or not. */
export function messageIdOf(text: string): string | undefined {
  const parsed = parseClientMessage(text)
  return parsed.ok ? parsed.message.id : parsed.id
}

const isKnown = (type: string): type is keyof typeof checks => Object.hasOwn(checks, type)
