import { isMiniMartError } from './error.ts'
import { type ClientMessage, parseServerMessage, type ServerMessage, subprotocol } from './messages.ts'
import { createRenewal } from './renewal.ts'
import type { AuthSession } from './session.ts'
import { backoffMs, createAlarm } from './timing.ts'

/** The part of `WebSocket` that is used. */
export interface Socket {
  send(text: string): void
  close(): void
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void
  addEventListener(type: 'close', listener: (event: { code: number }) => void): void
}
export type SocketConstructor = new (url: string, protocols: string[]) => Socket

export interface SocketTiming {
  /** After so much silence a ping is sent. */
  pingMs: number
  /** Without an answer to it, the socket is replaced. */
  pongMs: number
  /** From opening to the server's `connected`. */
  connectMs: number
  /** A socket that has been up for this long resets the backoff. */
  stableMs: number
  firstRetryMs: number
  maxRetryMs: number
}

export interface ReconnectingSocketDeps {
  /** `ws://…/ws`. */
  url: string
  WebSocket: SocketConstructor
  session: Pick<AuthSession, 'accessToken'>
  timing: SocketTiming
  now: () => number
  random: () => number
  onUp(): void
  /** It closed, or could not be opened; it reconnects by itself. */
  onDown(): void
  onMessage(message: ServerMessage): void
  /** It does not reconnect. */
  onEnded(reason: 'signed_out' | 'not_allowed'): void
}

/** A socket that authenticates, keeps its token fresh, detects a dead connection and reconnects with backoff. */
export interface ReconnectingSocket {
  /** No effect while it is open or opening. */
  open(): void
  close(): void
  /** Pings or reconnects immediately. */
  wake(): void
  /** False when it is down; nothing is queued. */
  send(message: ClientMessage): boolean
}

const tokenBad = 4001
const notAllowed = 4003

export function createReconnectingSocket(deps: ReconnectingSocketDeps): ReconnectingSocket {
  let wanted = false
  let connection: Connection | null = null
  let up = false
  let token = ''
  const retries = createRetries(deps)

  const send = (message: ClientMessage): boolean => {
    if (up) connection?.send(message)
    return up
  }

  const renewal = createRenewal({
    ...deps,
    onToken(next) {
      token = next
      send({ type: 'authenticate', payload: { token } })
    },
    onSignedOut: () => end('signed_out'),
  })

  const disconnect = (): void => {
    retries.cancel()
    renewal.cancel()
    opener.cancel()
    up = false
    connection?.close()
    connection = null
  }

  const end = (reason: 'signed_out' | 'not_allowed'): void => {
    wanted = false
    disconnect()
    deps.onEnded(reason)
  }

  const reconnectLater = (): void => {
    disconnect()
    retries.schedule(opener.open)
    deps.onDown()
  }

  const onMessage = (message: ServerMessage): void => {
    if (message.type === 'connected') {
      up = true
      retries.connected()
      deps.onUp()
    } else if (message.type === 'token_expiring') renewal.schedule(token, message.payload.expires_at)
    else deps.onMessage(message)
  }

  const onClosed = (code: number | null): void => {
    const isFirstRefusal = code === tokenBad && retries.refuse(token)
    if (code === notAllowed) end('not_allowed')
    else if (isFirstRefusal) {
      disconnect()
      deps.onDown()
      opener.open()
    } else reconnectLater()
  }

  const opener = createOpener(deps, retries, {
    onToken(next) {
      token = next
      connection = openConnection(deps, token, { onMessage, onClosed })
    },
    onSignedOut: () => end('signed_out'),
    onFailed: reconnectLater,
  })

  return {
    open() {
      if (wanted) return
      wanted = true
      retries.reset()
      opener.open()
    },
    close() {
      wanted = false
      disconnect()
    },
    wake() {
      if (!wanted) return
      if (up) return connection?.ping()
      if (connection) return
      retries.skipDelay()
      opener.open()
    },
    send,
  }
}

interface OpenerHandlers {
  onToken(token: string): void
  onSignedOut(): void
  onFailed(): void
}

/** Gets the token for each attempt. Results of an attempt before the last one, or before `cancel`, are ignored. */
function createOpener({ session }: ReconnectingSocketDeps, retries: Retries, handlers: OpenerHandlers) {
  let generation = 0
  return {
    open(): void {
      const started = ++generation
      const ifCurrent = (act: () => void): void => {
        if (started === generation) act()
      }
      session.accessToken(retries.tokenRequirements()).then(
        (token) => ifCurrent(() => handlers.onToken(token)),
        (error: unknown) =>
          ifCurrent(
            isMiniMartError(error) && error.status === 401 ? handlers.onSignedOut : handlers.onFailed,
          ),
      )
    },
    cancel(): void {
      generation++
    },
  }
}

type Retries = ReturnType<typeof createRetries>

/** When the next attempt is due, and which token not to use for it. */
function createRetries({ timing, random }: ReconnectingSocketDeps) {
  const { firstRetryMs: firstMs, maxRetryMs: maxMs, stableMs } = timing
  const [next, stable] = [createAlarm(), createAlarm()]
  let attempt = 0
  /** The last token closed with 4001. */
  let refused: string | null = null
  const reset = (): void => {
    attempt = 0
    refused = null
  }
  return {
    schedule(open: () => void): void {
      next.set(backoffMs(attempt++, { firstMs, maxMs, random }), open)
    },
    /** The backoff starts over once the connection has lasted. */
    connected: (): void => stable.set(stableMs, reset),
    cancel(): void {
      next.clear()
      stable.clear()
    },
    tokenRequirements: () => (refused === null ? {} : { not: refused }),
    /** @returns whether it is the first: only that one is replaced immediately, as a server may refuse all of them */
    refuse(token: string): boolean {
      const isFirst = refused === null
      refused = token
      return isFirst
    },
    skipDelay(): void {
      attempt = 0
      next.clear()
    },
    reset,
  }
}

interface Connection {
  send(message: ClientMessage): void
  /** Expects an answer within `pongMs`. */
  ping(): void
  /** No handler is called after it. */
  close(): void
}

interface ConnectionHandlers {
  onMessage(message: ServerMessage): void
  /** @param code null when it timed out */
  onClosed(code: number | null): void
}

function openConnection(
  { url, WebSocket, timing }: ReconnectingSocketDeps,
  token: string,
  { onMessage, onClosed }: ConnectionHandlers,
): Connection {
  const socket = new WebSocket(url, [subprotocol, `bearer.${token}`])
  const [deadline, silence] = [createAlarm(), createAlarm()]
  let closed = false

  const close = (): void => {
    closed = true
    deadline.clear()
    silence.clear()
    socket.close()
  }
  const finish = (code: number | null): void => {
    if (closed) return
    close()
    onClosed(code)
  }
  const send = (message: ClientMessage): void => socket.send(JSON.stringify(message))
  const ping = (): void => {
    send({ type: 'ping' })
    deadline.set(timing.pongMs, () => finish(null))
  }

  deadline.set(timing.connectMs, () => finish(null))
  socket.addEventListener('message', ({ data }) => {
    if (closed) return
    deadline.clear()
    silence.set(timing.pingMs, ping)
    const message = parseServerMessage(data)
    if (message) onMessage(message)
  })
  socket.addEventListener('close', ({ code }) => finish(code))
  return { send, ping, close }
}
