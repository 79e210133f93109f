/**
 * The messages between instances: JSON, and before it a MAC over it and its channel, so that whoever else may publish to
 * this Redis can neither make one nor move one to another list or installation.
 */
import { type Static, Type } from '@sinclair/typebox'
import { jsonReader } from '../lib/json.ts'
import { equalInConstantTime, mac } from '../lib/keys.ts'

/**
 * Releases of a rolling upgrade read each other's messages: fields may be added, as unknown ones are ignored; a change
 * that older releases would misread takes a new version.
 */
const messageVersion = 1

const Message = Type.Object({
  version: Type.Optional(Type.Literal(messageVersion)),
  list: Type.Object({ tenantId: Type.String(), listId: Type.String() }),
  events: Type.Array(
    Type.Object({
      seq: Type.Integer({ minimum: 1 }),
      mark: Type.String(),
      previous: Type.String(),
      type: Type.String(),
      userId: Type.Union([Type.String(), Type.Null()]),
      text: Type.String(),
    }),
  ),
  requestId: Type.Optional(Type.Union([Type.String(), Type.Null()])),
})
export type Message = Static<typeof Message>

/** Null for what is malformed or of a newer version. */
export const readMessage = jsonReader(Message)

export const messageText = (message: Message): string =>
  JSON.stringify({ version: messageVersion, ...message })

export interface MessageKeys {
  readonly key: Buffer
  /** Messages sealed with them are accepted too. */
  readonly previous: readonly Buffer[]
}

const macLength = 43

export const seal = ({ key }: MessageKeys, channel: string, text: string): string =>
  macOf(key, channel, text) + text

/** @returns the sealed text; null unless an instance with one of the keys sealed it for this channel */
export function unseal({ key, previous }: MessageKeys, channel: string, sealed: string): string | null {
  const given = sealed.slice(0, macLength)
  const text = sealed.slice(macLength)
  const isGenuine = [key, ...previous].some((each) => equalInConstantTime(given, macOf(each, channel, text)))
  return isGenuine ? text : null
}

const macOf = (key: Buffer, channel: string, text: string): string => mac(key, `${channel}\n${text}`)
