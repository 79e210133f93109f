/** One socket, independent of its transport: handles its messages one at a time and answers in that order. */
import type { Static } from '@sinclair/typebox'
import type { AccessTokens, VerifiedToken } from '../access/access-tokens.ts'
import type { RateLimits } from '../access/rate-limits.ts'
import type { Line } from '../access/reading-lines.ts'
import type { Database } from '../db/database.ts'
import { forSocketOf } from '../db/shares.ts'
import { AppError } from '../errors.ts'
import type { ListKey } from '../features/list-changes/events.ts'
import { readSince, type Since } from '../lib/history-position.ts'
import type { Logger } from '../log.ts'
import { version } from '../version.ts'
import { topicOf } from './broker.ts'
import { findHead } from './event-log.ts'
import type { Hub, Listener, Subscription } from './hub.ts'
import { createInboundQueue } from './inbound-queue.ts'
import { limits } from './limits.ts'
import {
  type ClientMessage,
  type CloseCode,
  closeCodes,
  encode,
  messageIdOf,
  parseClientMessage,
  protocolVersion,
  type ServerAnswer,
  type SocketError,
  type SocketErrorCode,
} from './protocol.ts'
import { replay } from './replay.ts'

export interface Transport {
  send(text: string): void
  close(code: number, reason: string): void
  ping(): void
  subscribe(topic: string): void
  unsubscribe(topic: string): void
  /** Bytes the client has not read yet. */
  unsent(): number
  /** Resolves when little enough is unsent to go on, or the socket is closed. */
  writable(): Promise<void>
}

export interface ConnectionDeps {
  db: Database
  hub: Hub
  tokens: AccessTokens
  log: Logger
  limits: Pick<RateLimits, 'ofSocket'>
  replays: Line
  /** The connection has a newer token, of another session perhaps. */
  onNewToken(connection: Connection, before: VerifiedToken): void
}

export interface Connection {
  readonly token: VerifiedToken
  /** A text frame, or null for a binary one. */
  receive(text: string | null): void
  /** A ping or pong. */
  receiveControlFrame(): void
  /**
   * To be called about once a second: pings, warns, and closes what has expired, fallen silent or fallen behind.
   * @param now the date, which tokens go by
   * @param uptime performance.now(), which silence goes by: a date can jump
   */
  tick(now: number, uptime: number): void
  /** Closes with 4001 when the token has been revoked. */
  recheckToken(): Promise<void>
  subscriptions(): number
  /** The transport is closed. */
  ended(): void
  close(why: CloseCode): void
}

/** What an error says besides. */
type ErrorDetails = Pick<Static<typeof SocketError>['payload'], 'list_id' | 'retry_after'>

/** What the parts of a connection share. */
interface State {
  token: VerifiedToken
  rawToken: string
  /** Whether the expiry of this token has been announced. */
  warned: boolean
  /** Aborted once it is closed. */
  gone: AbortSignal
  replaceToken(rawToken: string, verified: VerifiedToken): void
  send(message: ServerAnswer, id?: string): void
  fail(code: SocketErrorCode, message: string, id?: string, about?: ErrorDetails): void
  close(why: CloseCode): void
}

/** @param verified what `rawToken` says */
export function createConnection(
  deps: ConnectionDeps,
  transport: Transport,
  rawToken: string,
  verified: VerifiedToken,
): Connection {
  const closing = new AbortController()
  const state: State = {
    token: verified,
    rawToken,
    warned: false,
    gone: closing.signal,
    replaceToken(newRawToken, newToken) {
      const before = state.token
      state.token = newToken
      state.rawToken = newRawToken
      state.warned = false
      deps.onNewToken(connection, before)
    },
    send: (message, id) => transport.send(encode(message, id)),
    fail: (code, message, id, about = {}) =>
      state.send({ type: 'error', payload: { code, message, ...about } }, id),
    close({ code, reason }) {
      if (state.gone.aborted) return
      transport.close(code, reason)
      ended()
    },
  }
  const subscriptions = createSubscriptions(deps, transport, state)
  const inbound = createInboundQueue({
    process: createProcessor(deps, state, subscriptions),
    refuse: (text) =>
      state.fail(
        'rate_limited',
        `Send at most ${limits.messagesPerSecond} messages a second.`,
        messageIdOf(text),
      ),
    onFlood: () => state.close(closeCodes.tooManyMessages),
  })
  const ended = (): void => {
    closing.abort()
    inbound.close()
    subscriptions.clear()
  }
  const clock = createClock(transport, state)
  const { actor, expiresAt } = verified
  state.send({
    type: 'connected',
    payload: { user_id: actor.userId, protocol: protocolVersion, version, expires_at: iso(expiresAt) },
  })
  const connection: Connection = {
    get token() {
      return state.token
    },
    receive(text) {
      clock.restart()
      // A binary frame is as invalid as an empty message.
      inbound.push(text ?? '')
    },
    receiveControlFrame() {
      clock.restart()
      inbound.countControlFrame()
    },
    tick: clock.tick,
    recheckToken: () => recheckToken(deps, state),
    subscriptions: subscriptions.count,
    ended,
    close: state.close,
  }
  return connection
}

const iso = (seconds: number): string => new Date(seconds * 1000).toISOString()

function createClock(transport: Transport, state: State) {
  let heardAt = performance.now()
  let pingedAt = performance.now()
  return {
    restart(): void {
      heardAt = performance.now()
    },
    tick(now: number, uptime: number) {
      const { expiresAt } = state.token
      if (state.gone.aborted) return
      if (now >= expiresAt * 1000) return state.close(closeCodes.tokenBad)
      if (uptime - heardAt > limits.silenceSeconds * 1000) return state.close(closeCodes.silent)
      if (transport.unsent() > limits.unsentBytes) return state.close(closeCodes.tooSlow)
      if (!state.warned && now >= (expiresAt - limits.tokenWarningSeconds) * 1000) {
        state.warned = true
        state.send({ type: 'token_expiring', payload: { expires_at: iso(expiresAt) } })
      }
      if (uptime - pingedAt >= limits.pingSeconds * 1000) {
        pingedAt = uptime
        transport.ping()
      }
    },
  }
}

type Message<T extends ClientMessage['type']> = Extract<ClientMessage, { type: T }>
type Subscriptions = ReturnType<typeof createSubscriptions>

function createSubscriptions(deps: ConnectionDeps, transport: Transport, state: State) {
  const open = new Map<string, { list: ListKey; subscription: Subscription }>()

  const drop = (listId: string): boolean => {
    const entry = open.get(listId)
    if (!entry) return false
    open.delete(listId)
    transport.unsubscribe(topicOf(entry.list))
    entry.subscription.leave(listener)
    return true
  }

  const listener: Listener = {
    userId: state.token.actor.userId,
    isStillAllowed: async ({ listId }) => (await findHead(deps.db, state.token.actor, listId)) !== null,
    onEvicted({ listId }) {
      if (drop(listId)) state.send({ type: 'unsubscribed', payload: { list_id: listId } })
    },
  }

  return {
    count: (): number => open.size,
    async subscribe({ payload, id }: Message<'subscribe'>): Promise<void> {
      const listId = payload.list_id.toLowerCase()
      // A repeated subscribe replaces the subscription only once it is confirmed, so it needs no room.
      if (!open.has(listId) && open.size >= limits.subscriptions) {
        const message = `A socket may subscribe to ${limits.subscriptions} lists.`
        return state.fail('too_many_subscriptions', message, id, { list_id: listId })
      }
      const list = { tenantId: state.token.actor.tenantId, listId }
      const outcome = await replay(deps, state.token.actor, list, sinceOf(payload), {
        gone: state.gone,
        writable: transport.writable,
        send: transport.send,
        sent: () => open.get(listId)?.subscription.stream.head() ?? null,
        confirm(message) {
          drop(listId)
          state.send(message, id)
        },
        join(subscription) {
          open.set(listId, { list, subscription })
          transport.subscribe(topicOf(list))
          subscription.join(listener)
        },
        leave: (subscription) => subscription.leave(listener),
      })
      if (outcome === 'not_found')
        state.fail('not_found', 'There is no such list, or you cannot see it.', id, { list_id: listId })
      if (outcome !== null && outcome !== 'not_found') {
        const { retryAfterSeconds } = outcome
        const message = `Too many requests. Try again in ${retryAfterSeconds} seconds.`
        state.fail('rate_limited', message, id, { list_id: listId, retry_after: retryAfterSeconds })
      }
    },
    unsubscribe({ payload, id }: Message<'unsubscribe'>): void {
      const listId = payload.list_id.toLowerCase()
      drop(listId)
      state.send({ type: 'unsubscribed', payload: { list_id: listId } }, id)
    },
    clear(): void {
      for (const { subscription } of open.values()) subscription.leave(listener)
      open.clear()
    },
  }
}

function sinceOf({ since }: Message<'subscribe'>['payload']): Since | undefined {
  return since === undefined ? undefined : (readSince(String(since)) ?? undefined)
}

function createProcessor(deps: ConnectionDeps, state: State, subscriptions: Subscriptions) {
  const handle = async (message: ClientMessage): Promise<void> => {
    switch (message.type) {
      case 'subscribe':
        return subscriptions.subscribe(message)
      case 'unsubscribe':
        return subscriptions.unsubscribe(message)
      case 'authenticate':
        return authenticate(deps, state, message)
      case 'ping':
        return state.send({ type: 'pong', payload: {} }, message.id)
    }
  }
  return async (text: string): Promise<void> => {
    const parsed = parseClientMessage(text)
    if (!parsed.ok) return state.fail(parsed.code, parsed.detail, parsed.id)
    const { message } = parsed
    try {
      await forSocketOf(state.token.actor.userId, () => handle(message))
    } catch (error) {
      if (state.gone.aborted) return
      if (!(error instanceof AppError))
        deps.log.error('a socket message failed', { error, type: message.type })
      const about = message.type === 'subscribe' ? { list_id: message.payload.list_id.toLowerCase() } : {}
      state.fail('unavailable', 'This is not possible at the moment. Try again.', message.id, about)
    }
  }
}

async function authenticate(
  deps: ConnectionDeps,
  state: State,
  { payload, id }: Message<'authenticate'>,
): Promise<void> {
  const next = await verifyToken(deps.tokens, payload.token)
  const { actor, expiresAt } = state.token
  if (!next || next.actor.userId !== actor.userId || next.expiresAt < expiresAt)
    return state.fail('token_invalid', 'Not a newer token of the same user; the current one stays.', id)
  // The subscriptions were allowed to the old role, and its revocation may not have reached this instance yet.
  if (next.actor.role !== actor.role) return state.close(closeCodes.tokenBad)
  state.replaceToken(payload.token, next)
  state.send({ type: 'authenticated', payload: { expires_at: iso(next.expiresAt) } }, id)
  await recheckToken(deps, state)
}

async function recheckToken({ tokens }: ConnectionDeps, state: State): Promise<void> {
  const checked = state.rawToken
  await tokens.read(checked).catch(() => {
    // Meanwhile a newer one may have replaced it.
    if (checked === state.rawToken) state.close(closeCodes.tokenBad)
  })
}

/** Null when the token is missing, malformed, expired or revoked. */
export async function verifyToken(tokens: AccessTokens, token: string): Promise<VerifiedToken | null> {
  try {
    return await tokens.read(token)
  } catch (error) {
    if (error instanceof AppError && error.status === 401) return null
    throw error
  }
}
