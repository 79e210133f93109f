/**
 * The socket's protocol, version 1: every message of each direction as one union of schemas. Types, validation and
 * /asyncapi.json come from here; a test pins the schemas' hash to the version, so that no change goes unnoticed.
 */
import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { type EventField, type EventType, eventFields, eventTypes } from '../features/list-changes/events.ts'

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

const strict = { additionalProperties: false } as const
const uuidPattern = '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
const Id = Type.String({ pattern: uuidPattern, description: "A list's id." })
const Seq = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const Time = Type.String({ format: 'date-time' })
const echoLength = 64
const Echo = Type.Optional(
  Type.String({ maxLength: echoLength, description: 'Repeated by the answer to this message.' }),
)

const clientMessage = <T extends string, P extends TSchema>(type: T, payload: P, description: string) =>
  Type.Object({ type: Type.Literal(type), payload, id: Echo }, { ...strict, title: type, description })

export const Subscribe = clientMessage(
  'subscribe',
  Type.Object({ list_id: Id, since: Type.Optional(Seq) }, strict),
  'Hear of every change of a list; with `since`, of all after that number.',
)
export const Unsubscribe = clientMessage(
  'unsubscribe',
  Type.Object({ list_id: Id }, strict),
  'Hear no more of it.',
)
export const Authenticate = clientMessage(
  'authenticate',
  Type.Object({ token: Type.String({ maxLength: 4096 }) }, strict),
  "The same user's newer token keeps the socket open.",
)
export const Ping = Type.Object(
  { type: Type.Literal('ping'), payload: Type.Optional(Type.Object({}, strict)), id: Echo },
  { ...strict, title: 'ping', description: 'Answered with `pong`.' },
)

export const ClientMessage = Type.Union([Subscribe, Unsubscribe, Authenticate, Ping])
export type ClientMessage = Static<typeof ClientMessage>

const serverMessage = <T extends string, P extends TSchema>(type: T, payload: P, description: string) =>
  Type.Object({ type: Type.Literal(type), payload, id: Echo }, { ...strict, title: type, description })

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
    expires_at: Time,
  }),
  'The first message: the token is good until `expires_at`.',
)
export const Subscribed = serverMessage(
  'subscribed',
  Type.Object({ list_id: Id, seq: Seq, recovered: Type.Boolean() }),
  '`recovered`: `since` was given and everything after it follows.',
)
export const ResyncRequired = serverMessage(
  'resync_required',
  Type.Object({ list_id: Id, seq: Seq }),
  'Read the list anew; live events after `seq` follow.',
)
export const Unsubscribed = serverMessage(
  'unsubscribed',
  Type.Object({ list_id: Id }),
  'No event of it follows.',
)
export const Authenticated = serverMessage(
  'authenticated',
  Type.Object({ expires_at: Time }),
  'The newer token counts from now on.',
)
export const TokenExpiring = serverMessage(
  'token_expiring',
  Type.Object({ expires_at: Time }),
  'Sent 60 seconds before: authenticate with a newer token.',
)
export const Pong = serverMessage('pong', Type.Object({}), 'The answer to `ping`.')
export const SocketError = serverMessage(
  'error',
  Type.Object({
    code: Type.Union(errorCodes.map((code) => Type.Literal(code))),
    message: Type.String(),
    list_id: Type.Optional(Id),
  }),
  'A message could not be followed; the socket stays open.',
)

/** As the API answers it; /asyncapi.json shows the same schema under this name. */
const answered = (name: 'Item' | 'List' | 'Member') =>
  Type.Unsafe<Record<string, unknown>>({ $ref: `#/components/schemas/${name}` })
const fieldSchemas: Record<EventField, TSchema> = {
  Item: answered('Item'),
  List: answered('List'),
  Member: answered('Member'),
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
      at: Time,
      actor_id: Type.String({ format: 'uuid' }),
    },
    { ...strict, title: type, description: 'A change of the list, sent after its commit.' },
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

type Answer =
  | Static<typeof Connected>
  | Static<typeof Subscribed>
  | Static<typeof ResyncRequired>
  | Static<typeof Unsubscribed>
  | Static<typeof Authenticated>
  | Static<typeof TokenExpiring>
  | Static<typeof Pong>
  | Static<typeof SocketError>

/** One server message as it goes over the wire. @param id what the client's message carried, if any */
export const encode = (message: Answer, id?: string): string =>
  JSON.stringify(id === undefined ? message : { ...message, id })

const validators = {
  subscribe: TypeCompiler.Compile(Subscribe),
  unsubscribe: TypeCompiler.Compile(Unsubscribe),
  authenticate: TypeCompiler.Compile(Authenticate),
  ping: TypeCompiler.Compile(Ping),
}

export type Parsed =
  | { ok: true; message: ClientMessage }
  | { ok: false; code: 'invalid_message' | 'unknown_type'; detail: string; id?: string }

/** Reads one text frame. The detail never repeats what the client sent: it may hold a token. */
export function parseClientMessage(text: string): Parsed {
  const value = parseJson(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return { ok: false, code: 'invalid_message', detail: 'A message is one JSON object with a type.' }
  const { type, id, ...rest }: { type?: unknown; id?: unknown } = value
  const echo = isEcho(id) ? { id } : {}
  if (typeof type !== 'string')
    return {
      ok: false,
      code: 'invalid_message',
      detail: 'A message is one JSON object with a type.',
      ...echo,
    }
  if (!isKnown(type))
    return { ok: false, code: 'unknown_type', detail: 'There is no message of this type.', ...echo }
  const message = id === undefined || isEcho(id) ? check(type, { type, ...rest }) : null
  return message
    ? { ok: true, message: { ...message, ...echo } }
    : {
        ok: false,
        code: 'invalid_message',
        detail: `The message does not have the form of ${type}.`,
        ...echo,
      }
}

/** Counted in code points, as all text is; the validators would count UTF-16 units. */
const isEcho = (id: unknown): id is string => typeof id === 'string' && [...id].length <= echoLength

/** The id of a message that is refused unread. */
export function echoOf(text: string): string | undefined {
  const parsed = parseClientMessage(text)
  return parsed.ok ? parsed.message.id : parsed.id
}

const isKnown = (type: string): type is keyof typeof validators => Object.hasOwn(validators, type)

function check(type: keyof typeof validators, value: object): ClientMessage | null {
  const validator = validators[type]
  return validator.Check(value) ? value : null
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
