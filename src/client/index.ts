/**
 * MiniMart for programs: signing in, every call of the API, and lists that stay up to date by themselves. Runs in
 * browsers and in Bun and Node (22 or later), and needs nothing beside what they have.
 *
 *     const mart = createMiniMart({ baseUrl: 'https://shop.example' })
 *     await mart.signIn('ann@shop.example', password)
 *     const [first] = (await mart.lists.page()).data
 *     const list = mart.follow(first.id, { onState: ({ items }) => show(items) })
 */
import { createApi } from './api.ts'
import { createHttp } from './http.ts'
import { newId } from './ids.ts'
import { createLive, type FollowHandlers, type Following, type LiveTiming } from './live.ts'
import { createSession, type SignedOutReason } from './session.ts'
import type { SocketConstructor } from './socket.ts'
import { createMemoryStorage, type TokenStorage } from './storage.ts'
import { createTransport, type Fetch } from './transport.ts'
import type { Id } from './types.ts'

export { applyEvents, type ListState, type Self, stateOf } from './apply.ts'
export { isMiniMartError, MiniMartError } from './error.ts'
export type { CallOptions } from './http.ts'
export { newId } from './ids.ts'
export type { FollowHandlers, Following } from './live.ts'
export type * from './messages.ts'
export type { SignedOutReason } from './session.ts'
export type { EndReason, FollowStatus } from './status.ts'
export { createMemoryStorage, type StoredSession, type TokenStorage } from './storage.ts'
export type * from './types.ts'

export interface Timing extends LiveTiming {
  /** How long one HTTP answer may take. */
  requestMs: number
  /** How often a call that may be repeated is repeated. */
  requestRetries: number
  /** A longer `Retry-After` is not waited for. */
  maxRetryAfterMs: number
}

export interface MiniMartOptions {
  /** The service's, like `https://shop.example`. */
  baseUrl: string
  /** By default in memory, for as long as this object lives. */
  tokens?: TokenStorage
  /** Called whenever somebody who was signed in no longer is. */
  onSignedOut?: (reason: SignedOutReason) => void
  /** Gets what a handler of `follow` throws; by default it is thrown as uncaught. The list goes on either way. */
  onHandlerError?: (error: unknown) => void
  fetch?: Fetch
  WebSocket?: SocketConstructor
  /** 0 to 1; spreads retries. */
  random?: () => number
  /** Milliseconds since 1970. */
  now?: () => number
  timing?: Partial<Timing>
}

const usualTiming: Timing = {
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

/** @throws TypeError when `baseUrl` is no http or https address */
export function createMiniMart(options: MiniMartOptions) {
  const { now = Date.now, random = Math.random, tokens: storage = createMemoryStorage() } = options
  const timing = { ...usualTiming, ...options.timing }
  const { requestMs: timeoutMs, requestRetries: times, firstRetryMs: firstMs, maxRetryAfterMs } = timing
  // In a browser fetch must not be called as a method of something else.
  const transport = createTransport(options.baseUrl, options.fetch ?? ((url, init) => fetch(url, init)))
  const onSignedOut = (reason: SignedOutReason): void => {
    live.endAll('signed_out')
    options.onSignedOut?.(reason)
  }
  const session = createSession({ transport, storage, now, random, timeoutMs, onSignedOut })
  const retries = { times, firstMs, maxMs: timing.maxRetryMs, maxRetryAfterMs }
  const api = createApi(createHttp({ transport, session, random, timeoutMs, retries }), () => newId(now))
  const live = createLive({
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
    /** Here in any case and at once. @throws MiniMartError when the server could not be told */
    signOut: session.signOut,
    /** Who is signed in, restored from the storage; null for nobody. Asks no server: see account.me. */
    user: session.user,
    ...api,
    /** Keeps a list up to date until it is closed, however often the network goes away. */
    follow: (listId: Id, handlers: FollowHandlers = {}): Following => live.follow(listId, handlers),
    /** For a browser's `online` and `visibilitychange`: looks at once whether the socket still lives. */
    wake: live.wake,
    /** Ends every following and the socket; whoever is signed in stays so. */
    close: () => live.endAll('closed'),
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
