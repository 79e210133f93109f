/**
 * A client for browsers, Bun and Node (22 or later) without dependencies: sign-in, the calls of the API, and
 * subscriptions that keep lists up to date.
 *
 *     const mart = createMiniMart({ baseUrl: 'https://shop.example' })
 *     await mart.signIn('ann@shop.example', password)
 *     const [first] = (await mart.lists.page()).data
 *     const subscription = mart.subscribe(first.id, { onState: ({ items }) => show(items) })
 */
import { createApi } from './api.ts'
import { createHttp } from './http.ts'
import { newId } from './ids.ts'
import { createSession, type SignedOutReason } from './session.ts'
import type { SocketConstructor } from './socket.ts'
import { createMemoryStorage, type TokenStorage } from './storage.ts'
import {
  createSubscriptions,
  type Subscription,
  type SubscriptionHandlers,
  type SubscriptionTiming,
} from './subscriptions.ts'
import { createTransport, type Fetch } from './transport.ts'
import type { Id } from './types.ts'

export { applyEvents, type ListState, type Self, stateOf } from './apply.ts'
export { isMiniMartError, MiniMartError } from './error.ts'
export type { CallOptions } from './http.ts'
export { newId } from './ids.ts'
export type * from './messages.ts'
export type { SignedOutReason } from './session.ts'
export type { EndReason, SubscriptionStatus } from './status.ts'
export { createMemoryStorage, type StoredSession, type TokenStorage } from './storage.ts'
export type { Subscription, SubscriptionHandlers } from './subscriptions.ts'
export type * from './types.ts'

export interface Timing extends SubscriptionTiming {
  /** Timeout of an HTTP request. */
  requestMs: number
  /** Retries of a call that is safe to retry. */
  requestRetries: number
  /** With a longer `Retry-After` a call fails instead of waiting. */
  maxRetryAfterMs: number
}

export interface MiniMartOptions {
  /** Of the service, such as `https://shop.example`. */
  baseUrl: string
  /** In memory by default. */
  tokens?: TokenStorage
  /** Called when the user is no longer signed in, for whichever reason. */
  onSignedOut?: (reason: SignedOutReason) => void
  /** Receives what a handler of a subscription throws; by default it becomes an uncaught error. */
  onHandlerError?: (error: unknown) => void
  fetch?: Fetch
  WebSocket?: SocketConstructor
  /** 0 to 1, for the jitter of retries. */
  random?: () => number
  /** Milliseconds since 1970. */
  now?: () => number
  timing?: Partial<Timing>
}

const defaultTiming: Timing = {
  requestMs: 15_000,
  requestRetries: 4,
  maxRetryAfterMs: 15_000,
  pingMs: 20_000,
  pongMs: 10_000,
  connectMs: 10_000,
  stableMs: 10_000,
  firstRetryMs: 500,
  maxRetryMs: 30_000,
  answerMs: 10_000,
  lingerMs: 5000,
}

export type MiniMart = ReturnType<typeof createMiniMart>

/** @throws TypeError when `baseUrl` is not an http or https URL */
export function createMiniMart(options: MiniMartOptions) {
  const { now = Date.now, random = Math.random, tokens: storage = createMemoryStorage() } = options
  const timing = { ...defaultTiming, ...options.timing }
  const { requestMs: timeoutMs, requestRetries: times, firstRetryMs: firstMs, maxRetryAfterMs } = timing
  // Browsers throw when fetch is called with another `this`.
  const transport = createTransport(options.baseUrl, options.fetch ?? ((url, init) => fetch(url, init)))
  const onSignedOut = (reason: SignedOutReason): void => {
    subscriptions.endAll('signed_out')
    options.onSignedOut?.(reason)
  }
  const session = createSession({ transport, storage, now, random, timeoutMs, onSignedOut })
  const retries = { times, firstMs, maxMs: timing.maxRetryMs, maxRetryAfterMs }
  const api = createApi(createHttp({ transport, session, random, timeoutMs, retries }), () => newId(now))
  const subscriptions = createSubscriptions({
    url: socketUrl(options.baseUrl),
    WebSocket: options.WebSocket ?? WebSocket,
    session,
    timing,
    now,
    random,
    onHandlerError: options.onHandlerError ?? throwLater,
    readList: (listId, signal) => api.lists.get(listId, { signal }),
    self: () => {
      const user = session.knownUser()
      return { id: user?.id ?? '', isTenantAdmin: user?.role === 'tenant_admin' }
    },
  })

  return {
    /** @throws MiniMartError invalid_credentials, email_not_verified, account_deactivated, tenant_deactivated */
    signIn: session.signIn,
    /** Signs out here in any case. @throws MiniMartError when the server could not be reached */
    signOut: session.signOut,
    /** The signed-in user, from the storage; null when nobody is. `account.me` asks the server. */
    user: session.user,
    ...api,
    /** Keeps a list up to date until it is closed, through any loss of the connection. */
    subscribe: (listId: Id, handlers: SubscriptionHandlers = {}): Subscription =>
      subscriptions.subscribe(listId, handlers),
    /** Checks the socket immediately: for a browser's `online` and `visibilitychange` events. */
    wake: subscriptions.wake,
    /** Ends all subscriptions and closes the socket. The user stays signed in. */
    close: () => subscriptions.endAll('closed'),
  }
}

function socketUrl(baseUrl: string): string {
  const url = new URL(`${baseUrl.replace(/\/+$/, '')}/ws`)
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new TypeError('baseUrl must begin with http:// or https://')
  url.protocol = url.protocol === 'http:' ? 'ws:' : 'wss:'
  return url.href
}

function throwLater(error: unknown): void {
  setTimeout(() => {
    throw error
  })
}
