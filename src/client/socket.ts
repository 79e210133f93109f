/**
 * The one socket to the service: opens it with a good token, keeps the token new, notices when it has died without
 * a word, and comes back. What is said on it is for others.
 */
import { isMiniMartError } from './error.ts'
import { type ClientMessage, parseServerMessage, type ServerMessage, subprotocol } from './messages.ts'
import { createRenewal } from './renewal.ts'
import type { AuthSession } from './session.ts'
import { backoffMs, createAlarm } from './timing.ts'

/** What is needed of a `WebSocket`. */
export interface Socket {
  send(text: string): void
  close(): void
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void
  addEventListener(type: 'close', listener: (event: { code: number }) => void): void
}
export type SocketConstructor = new (url: string, protocols: string[]) => Socket

export interface LineTiming {
  /** How long nothing may be heard before a ping is sent, and how long its answer may take. */
  pingMs: number
  pongMs: number
  /** From opening to the server's greeting. */
  connectMs: number
  /** A connection that lived this long begins the backoff anew. */
  stableMs: number
  firstRetryMs: number
  maxRetryMs: number
}

export interface LineDeps {
  /** `ws://…/ws`. */
  url: string
  WebSocket: SocketConstructor
  session: Pick<AuthSession, 'accessToken'>
  timing: LineTiming
  now: () => number
  random: () => number
  onUp(): void
  /** It broke, or could not be opened; another try follows by itself. */
  onDown(): void
  onMessage(message: ServerMessage): void
  /** No further try follows. */
  onEnded(reason: 'signed_out' | 'not_allowed'): void
}

export interface Line {
  /** Does nothing when it is open already, or on its way. */
  open(): void
  close(): void
  /** Tries now what it would try later: the device is back on the network, or awake. */
  wake(): void
  /** False when there is no connection; nothing is kept for later. */
  send(message: ClientMessage): boolean
}

const tokenBad = 4001
const notAllowed = 4003

export function createLine(deps: LineDeps): Line {
  const { timing, session, random } = deps
  let wanted = false
  let socket: Socket | null = null
  let up = false
  let token = ''
  /** The last token that the server did not want. */
  let refused: string | null = null
  let attempt = 0
  /** Goes up with each try, so that what a former one waited for is not used. */
  let turn = 0
  const [retry, deadline, stable, ping] = [createAlarm(), createAlarm(), createAlarm(), createAlarm()]
  const renewal = createRenewal({
    ...deps,
    onToken(next) {
      token = next
      send({ type: 'authenticate', payload: { token } })
    },
    onSignedOut: () => finish('signed_out'),
  })

  const letGo = (): void => {
    for (const alarm of [retry, deadline, stable, ping]) alarm.clear()
    renewal.cancel()
    turn++
    up = false
    const old = socket
    socket = null
    old?.close()
  }

  const finish = (reason: 'signed_out' | 'not_allowed'): void => {
    wanted = false
    letGo()
    deps.onEnded(reason)
  }

  const again = (): void => {
    letGo()
    const { firstRetryMs: firstMs, maxRetryMs: maxMs } = timing
    retry.set(backoffMs(attempt++, { firstMs, maxMs, random }), connect)
    deps.onDown()
  }

  const send = (message: ClientMessage): boolean => {
    if (!up) return false
    socket?.send(JSON.stringify(message))
    return true
  }

  const connect = (): void => {
    const mine = ++turn
    session.accessToken(refused === null ? {} : { not: refused }).then(
      (good) => {
        if (mine === turn && wanted) begin(good)
      },
      (error: unknown) => {
        if (mine !== turn || !wanted) return
        if (isMiniMartError(error) && error.status === 401) finish('signed_out')
        else again()
      },
    )
  }

  const begin = (good: string): void => {
    token = good
    const made = new deps.WebSocket(deps.url, [subprotocol, `bearer.${token}`])
    socket = made
    deadline.set(timing.connectMs, again)
    made.addEventListener('message', ({ data }) => {
      if (socket === made) hear(parseServerMessage(data))
    })
    made.addEventListener('close', ({ code }) => {
      if (socket !== made) return
      socket = null
      closed(code)
    })
  }

  const closed = (code: number): void => {
    // The first time a new token is fetched at once; a server that wants none of them is not asked all the time.
    const atOnce = code === tokenBad && refused === null
    if (code === tokenBad) refused = token
    if (code === notAllowed) finish('not_allowed')
    else if (atOnce) {
      letGo()
      deps.onDown()
      connect()
    } else again()
  }

  const hear = (message: ServerMessage | null): void => {
    deadline.clear()
    ping.set(timing.pingMs, sendPing)
    if (message?.type === 'connected') {
      up = true
      stable.set(timing.stableMs, () => {
        attempt = 0
        refused = null
      })
      deps.onUp()
    } else if (message?.type === 'token_expiring') renewal.plan(token, message.payload.expires_at)
    else if (message) deps.onMessage(message)
  }

  const sendPing = (): void => {
    send({ type: 'ping' })
    deadline.set(timing.pongMs, again)
  }

  return {
    open() {
      if (wanted) return
      wanted = true
      attempt = 0
      refused = null
      connect()
    },
    close() {
      wanted = false
      letGo()
    },
    wake() {
      if (!wanted) return
      if (up) return sendPing()
      if (socket) return
      attempt = 0
      retry.clear()
      connect()
    },
    send,
  }
}
