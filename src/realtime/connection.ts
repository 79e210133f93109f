/**
 * One socket, apart from how it is carried: reads its messages one after the other and answers them in that order.
 * Text in, text out; the carrier is given as functions, so that nothing of a web framework stands between.
 */

import type { AccessTokens, VerifiedToken } from '../access/access-tokens.ts'
import type { Database } from '../db/database.ts'
import { AppError } from '../errors.ts'
import type { ListKey } from '../features/list-changes/events.ts'
import type { Logger } from '../log.ts'
import { topicOf } from './broker.ts'
import { findSeq } from './event-log.ts'
import type { Hub, Listener, Subscription } from './hub.ts'
import { createIntake } from './inbound-queue.ts'
import { limits } from './limits.ts'
import {
  type ClientMessage,
  closeCodes,
  echoOf,
  encode,
  parseClientMessage,
  protocolVersion,
  type SocketErrorCode,
} from './protocol.ts'
import { replay } from './replay.ts'

/** What carries a connection. */
export interface Carrier {
  send(text: string): void
  close(code: number, reason: string): void
  ping(): void
  subscribe(topic: string): void
  unsubscribe(topic: string): void
  /** Bytes that the other side has not taken yet. */
  unsent(): number
  /** Resolves when little enough is unsent to go on, or the socket is gone. */
  writable(): Promise<void>
}

export interface ConnectionDeps {
  db: Database
  hub: Hub
  tokens: AccessTokens
  log: Logger
}

export interface Connection {
  readonly token: VerifiedToken
  /** A text frame, or null for a binary one. */
  receive(text: string | null): void
  /** A ping or pong frame came from the other side. */
  hear(): void
  /** Called about once a second: pings, warns, and ends what has expired or fallen silent. */
  tick(now: number): void
  /** Looks again whether the token still counts, and closes with 4001 if not. */
  recheckToken(): Promise<void>
  subscriptions(): number
  /** The socket is gone. */
  ended(): void
  close(why: { code: number; reason: string }): void
}

const iso = (seconds: number): string => new Date(seconds * 1000).toISOString()

export function createConnection(
  deps: ConnectionDeps,
  carrier: Carrier,
  rawToken: string,
  verified: VerifiedToken,
): Connection {
  let token = verified
  let raw = rawToken
  let warned = false
  let gone = false
  let lastHeard = Date.now()
  let lastPing = Date.now()
  const subscribed = new Map<string, { list: ListKey; subscription: Subscription }>()

  const close = ({ code, reason }: { code: number; reason: string }): void => {
    if (gone) return
    carrier.close(code, reason)
    ended()
  }

  const ended = (): void => {
    gone = true
    intake.end()
    for (const { subscription } of subscribed.values()) subscription.leave(listener)
    subscribed.clear()
  }

  const fail = (code: SocketErrorCode, message: string, id?: string, listId?: string): void =>
    carrier.send(
      encode({ type: 'error', payload: { code, message, ...(listId ? { list_id: listId } : {}) } }, id),
    )

  const drop = (listId: string): boolean => {
    const entry = subscribed.get(listId)
    if (!entry) return false
    subscribed.delete(listId)
    carrier.unsubscribe(topicOf(entry.list))
    entry.subscription.leave(listener)
    return true
  }

  const listener: Listener = {
    userId: verified.actor.userId,
    mayStillHear: async ({ listId }) => (await findSeq(deps.db, token.actor, listId)) !== null,
    dismiss({ listId }) {
      if (drop(listId)) carrier.send(encode({ type: 'unsubscribed', payload: { list_id: listId } }))
    },
  }

  const recheckToken = async (): Promise<void> => {
    const checked = raw
    await deps.tokens.read(checked).catch(() => {
      // Meanwhile a newer one may have taken its place.
      if (checked === raw) close(closeCodes.tokenBad)
    })
  }

  const handlers = {
    async subscribe({ payload, id }: Extract<ClientMessage, { type: 'subscribe' }>) {
      const listId = payload.list_id.toLowerCase()
      // A repeat takes the place of what is followed only once it is answered; if it fails, that goes on.
      if (!subscribed.has(listId) && subscribed.size >= limits.subscriptions)
        return fail(
          'too_many_subscriptions',
          `A socket may follow ${limits.subscriptions} lists.`,
          id,
          listId,
        )
      const list = { tenantId: token.actor.tenantId, listId }
      const joined = await replay(deps, token.actor, list, payload.since, {
        isGone: () => gone,
        writable: carrier.writable,
        send: carrier.send,
        heard: () => subscribed.get(listId)?.subscription.stream.head() ?? 0,
        answer(message) {
          drop(listId)
          carrier.send(encode(message, id))
        },
        join(subscription) {
          subscribed.set(listId, { list, subscription })
          carrier.subscribe(topicOf(list))
          subscription.join(listener)
        },
        leave: (subscription) => subscription.leave(listener),
      })
      if (joined === 'not_found')
        fail('not_found', 'There is no such list, or you cannot see it.', id, listId)
    },
    async unsubscribe({ payload, id }: Extract<ClientMessage, { type: 'unsubscribe' }>) {
      const listId = payload.list_id.toLowerCase()
      drop(listId)
      carrier.send(encode({ type: 'unsubscribed', payload: { list_id: listId } }, id))
    },
    async authenticate({ payload, id }: Extract<ClientMessage, { type: 'authenticate' }>) {
      const next = await deps.tokens.read(payload.token).catch((error: unknown) => {
        if (error instanceof AppError && error.status === 401) return null
        throw error
      })
      if (!next || next.actor.userId !== token.actor.userId || next.expiresAt < token.expiresAt)
        return fail('token_invalid', 'This is no newer token of the same user; the old one still counts.', id)
      // What is followed was allowed to the old role. Its end may not have come round to this instance yet.
      if (next.actor.role !== token.actor.role) return close(closeCodes.tokenBad)
      token = next
      raw = payload.token
      warned = false
      carrier.send(encode({ type: 'authenticated', payload: { expires_at: iso(next.expiresAt) } }, id))
      await recheckToken()
    },
    async ping({ id }: Extract<ClientMessage, { type: 'ping' }>) {
      carrier.send(encode({ type: 'pong', payload: {} }, id))
    },
  }

  const follow = async (text: string): Promise<void> => {
    const parsed = parseClientMessage(text)
    if (!parsed.ok) return fail(parsed.code, parsed.detail, parsed.id)
    const { message } = parsed
    try {
      if (message.type === 'subscribe') await handlers.subscribe(message)
      else if (message.type === 'unsubscribe') await handlers.unsubscribe(message)
      else if (message.type === 'authenticate') await handlers.authenticate(message)
      else await handlers.ping(message)
    } catch (error) {
      if (gone) return
      if (!(error instanceof AppError))
        deps.log.error('a socket message failed', { error, type: message.type })
      const listId = message.type === 'subscribe' ? message.payload.list_id.toLowerCase() : undefined
      fail('unavailable', 'This cannot be done just now. Try again in a moment.', message.id, listId)
    }
  }

  const intake = createIntake({
    follow,
    refuse: (text) =>
      fail('rate_limited', `Send at most ${limits.messagesPerSecond} messages a second.`, echoOf(text)),
    onFlood: () => close(closeCodes.tooManyMessages),
  })

  carrier.send(
    encode({
      type: 'connected',
      payload: { user_id: token.actor.userId, protocol: protocolVersion, expires_at: iso(token.expiresAt) },
    }),
  )

  return {
    get token() {
      return token
    },
    receive(text) {
      lastHeard = Date.now()
      // A binary frame is no message, like an empty one.
      intake.take(text ?? '')
    },
    hear() {
      lastHeard = Date.now()
      intake.takeControl()
    },
    tick(now) {
      if (gone) return
      if (now >= token.expiresAt * 1000) return close(closeCodes.tokenBad)
      if (now - lastHeard > limits.silenceSeconds * 1000) return close(closeCodes.silent)
      if (carrier.unsent() > limits.unsentBytes) return close(closeCodes.tooSlow)
      if (!warned && now >= (token.expiresAt - limits.tokenWarningSeconds) * 1000) {
        warned = true
        carrier.send(encode({ type: 'token_expiring', payload: { expires_at: iso(token.expiresAt) } }))
      }
      if (now - lastPing >= limits.pingSeconds * 1000) {
        lastPing = now
        carrier.ping()
      }
    },
    recheckToken,
    subscriptions: () => subscribed.size,
    ended,
    close,
  }
}
