/** /asyncapi.json: the socket as AsyncAPI 3, made from the very schemas that validate its messages. */
import type { TSchema } from '@sinclair/typebox'
import { limits } from './limits.ts'
import * as protocol from './protocol.ts'

const fromClient: TSchema[] = [protocol.Subscribe, protocol.Unsubscribe, protocol.Authenticate, protocol.Ping]
const fromServer: TSchema[] = [
  protocol.Connected,
  protocol.Subscribed,
  protocol.ResyncRequired,
  protocol.Unsubscribed,
  protocol.Authenticated,
  protocol.TokenExpiring,
  protocol.Pong,
  protocol.SocketError,
  ...protocol.events,
]

const nameOf = (schema: TSchema): string => String(schema.title)

/** @param version the program's @param schemas what the API answers and events carry, by name */
export function asyncapiDocument(version: string, schemas: object): object {
  const messages = Object.fromEntries(
    [...fromClient, ...fromServer].map((schema) => [
      nameOf(schema),
      { name: nameOf(schema), summary: schema.description, contentType: 'application/json', payload: schema },
    ]),
  )
  const references = (schemas: TSchema[]) =>
    schemas.map((schema) => ({ $ref: `#/channels/socket/messages/${nameOf(schema)}` }))
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'MiniMart live sync',
      version,
      description: description.join('\n\n'),
    },
    servers: { here: { host: 'localhost:8000', protocol: 'ws' } },
    channels: {
      socket: {
        address: '/ws',
        title: 'One socket for all lists of a user',
        messages: Object.fromEntries(
          Object.keys(messages).map((name) => [name, { $ref: `#/components/messages/${name}` }]),
        ),
        bindings: {
          ws: {
            query: {
              type: 'object',
              properties: { token: { type: 'string', description: 'An access token.' } },
            },
          },
        },
      },
    },
    operations: {
      fromClient: {
        action: 'receive',
        channel: { $ref: '#/channels/socket' },
        messages: references(fromClient),
      },
      fromServer: {
        action: 'send',
        channel: { $ref: '#/channels/socket' },
        messages: references(fromServer),
      },
    },
    components: { messages, schemas },
  }
}

const { closeCodes } = protocol

const description = [
  'Open `/ws?token=<access token>`, or send the subprotocols `minimart.v1, bearer.<access token>`. Messages are JSON ' +
    'objects in text frames, answered in the order sent; an `id` is repeated by the answer.',
  'Per list, `seq` counts events from 1 without holes. A subscriber gets each once, in order, none missing, from the ' +
    '`seq` that `subscribed` named, or from `since`. After a close, reconnect and subscribe with the last `seq` seen. ' +
    'Subscribing to a list again takes the place of what was followed; if it fails, that goes on.',
  `Limits: ${limits.messageBytes} bytes a message, ${limits.messageBurst} messages at once and ` +
    `${limits.messagesPerSecond} a second, ${limits.subscriptions} lists a socket, ${limits.socketsPerUser} sockets a user.`,
  `Close codes: ${Object.values(closeCodes)
    .map(({ code, reason }) => `${code} ${reason}`)
    .join(' · ')} · 1009 message too long.`,
]
