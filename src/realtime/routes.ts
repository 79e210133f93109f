/**
 * /ws: the upgrade, and the carrying of connections by Bun's sockets and topics. Bun's own handlers are given straight
 * to the upgrade: the framework's socket layer would reorder messages, coerce what they hold and swallow errors.
 */

import type { Server, ServerWebSocket } from 'bun'
import { Elysia } from 'elysia'
import type { VerifiedToken } from '../access/access-tokens.ts'
import { AppError } from '../errors.ts'
import { Item } from '../features/items/model.ts'
import { List, Member } from '../features/lists/model.ts'
import { namedSchemas } from '../http/docs/openapi-document.ts'
import { asyncapiDocument } from './asyncapi.ts'
import { type Carrier, type Connection, createConnection } from './connection.ts'
import { limits } from './limits.ts'
import { closeCodes, subprotocol } from './protocol.ts'
import type { Sockets } from './sockets.ts'

/** What Bun keeps with a socket; it calls these for what happens to it. */
export interface SocketData {
  open(socket: ServerWebSocket<SocketData>): void
  message(socket: ServerWebSocket<SocketData>, message: string | Buffer): void
  drain(): void
  close(socket: ServerWebSocket<SocketData>, code: number): void
  ping(): void
  pong(): void
}

/** For Bun.serve's `websocket`. */
export const websocketOptions = {
  maxPayloadLength: limits.messageBytes,
  backpressureLimit: limits.unsentBytesAtMost,
  // Otherwise Bun drops messages silently; cut off, the client comes back with `since`.
  closeOnBackpressureLimit: true,
  // Bun does not notice a silent peer while it publishes to it, so connections keep their own pings and deadline.
  idleTimeout: 0,
  sendPings: false,
  publishToSelf: true,
} as const

const carried = namedSchemas([Item, List, Member])

/** By then sockets whose other end has gone silent are closed. */
const crowdedRetrySeconds = limits.silenceSeconds

export interface SocketDeps {
  sockets: Sockets
  /** Whether a browser's page of this origin may open a socket. */
  isOriginAllowed: (origin: string, host: string | null) => boolean
  /** The program's, for /asyncapi.json. */
  version: string
}

export const socketRoutes = ({ sockets, isOriginAllowed, version }: SocketDeps) =>
  new Elysia()
    .get('/asyncapi.json', () => Response.json(asyncapiDocument(version, carried)), {
      detail: { hide: true },
    })
    .get(
      '/ws',
      async ({ request, server }) => {
        const origin = request.headers.get('origin')
        if (origin !== null && !isOriginAllowed(origin, request.headers.get('host')))
          throw new AppError(
            'forbidden',
            'Pages of this origin may not open a socket here. See CORS_ORIGINS.',
          )
        const { token, protocol } = readToken(request)
        const verified = await sockets.verify(token)
        if (verified && sockets.isCrowded(verified.actor.userId))
          throw new AppError(
            'rate_limited',
            `A user may have ${limits.socketsPerUser} sockets open. Close some before opening more.`,
            { retryAfterSeconds: crowdedRetrySeconds },
          )
        const data = carry(sockets, token, verified)
        // Left unsaid, Bun agrees to whatever is offered first, and that may be the token.
        const headers = { 'sec-websocket-protocol': protocol ?? '' }
        if (!(server as Server<SocketData> | null)?.upgrade(request, { data, headers }))
          throw new AppError('upgrade_required', 'This address speaks WebSocket.', {
            headers: { upgrade: 'websocket' },
          })
      },
      { detail: { hide: true } },
    )

/** From the subprotocol, for clients that keep tokens out of URLs, or from the query. */
function readToken(request: Request): { token: string; protocol: string | null } {
  const offered = (request.headers.get('sec-websocket-protocol') ?? '').split(',').map((part) => part.trim())
  const bearer = offered.find((part) => part.startsWith('bearer.'))
  const query = new URL(request.url).searchParams.get('token')
  return {
    token: bearer?.slice('bearer.'.length) ?? query ?? '',
    protocol: offered.includes(subprotocol) ? subprotocol : null,
  }
}

function carry(sockets: Sockets, token: string, verified: VerifiedToken | null): SocketData {
  let connection: Connection | null = null
  let onDrain: (() => void)[] = []
  const drained = (): void => {
    for (const resume of onDrain.splice(0)) resume()
    onDrain = []
  }
  return {
    open(socket) {
      sockets.countOpened()
      if (!verified) return socket.close(closeCodes.tokenBad.code, closeCodes.tokenBad.reason)
      const carrier: Carrier = {
        send: (text) => void socket.send(text),
        close: (code, reason) => socket.close(code, reason),
        ping: () => void socket.ping(),
        subscribe: (topic) => socket.subscribe(topic),
        unsubscribe: (topic) => socket.unsubscribe(topic),
        unsent: () => socket.getBufferedAmount(),
        writable: async () => {
          // A drain may be partial.
          while (socket.readyState === WebSocket.OPEN && socket.getBufferedAmount() >= limits.unsentBytes / 4)
            await new Promise<void>((resolve) => onDrain.push(resolve))
        },
      }
      connection = createConnection(sockets, carrier, token, verified)
      sockets.add(connection)
      // What was revoked since the token was read found no socket to close.
      void connection.recheckToken()
    },
    message: (_socket, message) => connection?.receive(typeof message === 'string' ? message : null),
    drain: drained,
    close(_socket, code) {
      sockets.countClosed(code)
      if (connection) sockets.remove(connection)
      connection?.ended()
      drained()
    },
    ping: () => connection?.hear(),
    pong: () => connection?.hear(),
  }
}
