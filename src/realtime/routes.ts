/** /ws on Bun's own sockets and topics: Elysia's socket layer would reorder messages, coerce values and swallow errors. */
import type { Server, ServerWebSocket } from 'bun'
import { Elysia } from 'elysia'
import type { VerifiedToken } from '../access/access-tokens.ts'
import { AppError } from '../errors.ts'
import { Item } from '../features/items/model.ts'
import { List, Member } from '../features/lists/model.ts'
import { namedSchemas } from '../http/docs/openapi-document.ts'
import { asyncapiDocument } from './asyncapi.ts'
import { type Connection, createConnection, type Transport } from './connection.ts'
import { limits } from './limits.ts'
import { closeCodes, subprotocol } from './protocol.ts'
import type { Sockets } from './sockets.ts'

export interface SocketDeps {
  sockets: Sockets
  /** Whether pages of this origin may open a socket. */
  isOriginAllowed: (origin: string, host: string | null) => boolean
  /** Whether sockets would take descriptors that the service cannot do without. */
  isShortOfDescriptors: () => boolean
  /** Of the program, for /asyncapi.json. */
  version: string
}

const undocumented = { detail: { hide: true } }

export const socketRoutes = (deps: SocketDeps) =>
  new Elysia()
    .get('/asyncapi.json', () => Response.json(asyncapiDocument(deps.version, eventSchemas)), undocumented)
    .get('/ws', ({ request, server }) => upgrade(deps, request, server), undocumented)

const eventSchemas = namedSchemas([Item, List, Member])

/** What Bun keeps with a socket. */
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
  // Otherwise Bun drops messages silently. A client that is cut off comes back with `since`.
  closeOnBackpressureLimit: true,
  // Bun does not notice a dead peer while it publishes to it, so connections have their own pings and timeout.
  idleTimeout: 0,
  sendPings: false,
  publishToSelf: true,
} as const

/** Dead sockets are closed by then. */
const crowdedRetrySeconds = limits.silenceSeconds
/** A balancer has found another instance by then. */
const fullRetrySeconds = 5

/** A bad token is accepted here and closed with 4001, as browsers cannot see the status of a refused upgrade. */
async function upgrade(
  { sockets, isOriginAllowed, isShortOfDescriptors }: SocketDeps,
  request: Request,
  server: Server<unknown> | null,
): Promise<void> {
  const origin = request.headers.get('origin')
  if (origin !== null && !isOriginAllowed(origin, request.headers.get('host')))
    throw new AppError('forbidden', 'Pages of this origin may not open a socket here. See CORS_ORIGINS.')
  if (isShortOfDescriptors())
    throw new AppError('busy', 'This instance has no room for more sockets. Try again, or elsewhere.', {
      retryAfterSeconds: fullRetrySeconds,
    })
  const { token, protocol } = readCredentials(request)
  const verified = await sockets.verify(token)
  if (verified && sockets.isCrowded(verified.actor))
    throw new AppError(
      'rate_limited',
      `A user may have ${limits.socketsPerUser} open sockets. Close some before opening more.`,
      { retryAfterSeconds: crowdedRetrySeconds },
    )
  const data = createSocketData(sockets, token, verified)
  // Without the header Bun accepts the first subprotocol offered, which may be the token.
  const headers = { 'sec-websocket-protocol': protocol ?? '' }
  if (!server?.upgrade(request, { data, headers }))
    throw new AppError('upgrade_required', 'This is a WebSocket endpoint.', {
      headers: { upgrade: 'websocket' },
    })
}

/** From the subprotocols, for clients that keep tokens out of URLs, or from the query. */
function readCredentials(request: Request): { token: string; protocol: string | null } {
  const offered = (request.headers.get('sec-websocket-protocol') ?? '').split(',').map((part) => part.trim())
  const bearer = offered.find((part) => part.startsWith('bearer.'))
  const query = new URL(request.url).searchParams.get('token')
  return {
    token: bearer?.slice('bearer.'.length) ?? query ?? '',
    protocol: offered.includes(subprotocol) ? subprotocol : null,
  }
}

function createSocketData(sockets: Sockets, token: string, verified: VerifiedToken | null): SocketData {
  let connection: Connection | null = null
  const drain = createDrain()
  return {
    open(socket) {
      sockets.countOpened()
      if (!verified) return socket.close(closeCodes.tokenBad.code, closeCodes.tokenBad.reason)
      connection = createConnection(sockets, transportOf(socket, drain), token, verified)
      sockets.add(connection)
      // A revocation since the token was verified found no socket to close.
      void connection.recheckToken()
    },
    message: (_socket, message) => connection?.receive(typeof message === 'string' ? message : null),
    drain: drain.resume,
    close(_socket, code) {
      sockets.countClosed(code)
      if (connection) sockets.remove(connection)
      connection?.ended()
      drain.resume()
    },
    ping: () => connection?.receiveControlFrame(),
    pong: () => connection?.receiveControlFrame(),
  }
}

type Drain = ReturnType<typeof createDrain>

/** Resumes everyone who waits for the socket to drain or close. */
function createDrain() {
  const waiting: (() => void)[] = []
  return {
    next: (): Promise<void> => new Promise((resolve) => waiting.push(resolve)),
    resume(): void {
      for (const resolve of waiting.splice(0)) resolve()
    },
  }
}

const transportOf = (socket: ServerWebSocket<SocketData>, drain: Drain): Transport => ({
  send: (text) => void socket.send(text),
  close: (code, reason) => socket.close(code, reason),
  ping: () => void socket.ping(),
  subscribe: (topic) => socket.subscribe(topic),
  unsubscribe: (topic) => socket.unsubscribe(topic),
  unsent: () => socket.getBufferedAmount(),
  async writable() {
    // A drain may be partial.
    while (socket.readyState === WebSocket.OPEN && socket.getBufferedAmount() >= limits.unsentBytes / 4)
      await drain.next()
  },
})
