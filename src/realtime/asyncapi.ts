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

/**
 * The AsyncAPI 3 document of the socket, derived from the schemas that validate its messages.
 * @param version of the program
 * @param schemas of the API's representations that events contain, by name
 */
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
  'Open `/ws?token=<access token>`, or offer the subprotocols `minimart.v1, bearer.<access token>`. Messages are JSON ' +
    'objects in text frames, answered in the order sent; an `id` is repeated in the answer.',
  "`seq` numbers a list's events from 1 without holes. A subscriber receives each event once, in order and without " +
    'gaps, from the `seq` that `subscribed` names, or from `since`. After a close, reconnect and subscribe with the ' +
    'last `seq` received. Subscribing to a list again replaces the subscription; if that fails, the old one goes on.',
  `Limits: ${limits.messageBytes} bytes per message, a burst of ${limits.messageBurst} messages and ` +
    `${limits.messagesPerSecond} per second, ${limits.subscriptions} lists per socket, ` +
    `${limits.socketsPerUser} sockets per user.`,
  'A subscribe counts as one call of its user, and as one more for each 500 events that it replays. Past the limit of ' +
    'calls it is answered with the error `rate_limited`: wait `retry_after` seconds and repeat it. Two of a user replay ' +
    'events at once; others wait, and are answered with the error `unavailable` after 10 seconds in line.',
  `Close codes: ${Object.values(closeCodes)
    .map(({ code, reason }) => `${code} ${reason}`)
    .join(' · ')} · 1009 message too long.`,
]
