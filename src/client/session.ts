/**
 * Who is signed in, and a token that is good. However many calls need a new token, one refresh is made. Its answer
 * may be lost on the way: the server then gives the same successor again for 10 seconds, so it is asked again at
 * once with the same token, each try short enough for several of them to fit.
 */
import { isMiniMartError, type MiniMartError, signedOutError } from './error.ts'
import type { StoredSession, TokenStorage } from './storage.ts'
import { backoffMs, sleep } from './timing.ts'
import type { Transport } from './transport.ts'
import type { Tokens, User } from './types.ts'

/** `signed_out`: by signOut or another signIn. `session_ended`: the server refuses to go on with it. */
export type SignedOutReason = 'signed_out' | 'session_ended'

export interface TokenWish {
  /** A token that was refused, or is about to end: any but this. */
  not?: string
  /** How long it should still be good. A new one is given whatever its life. */
  lifeMs?: number
}

export interface AuthSession {
  /** From the storage at first; null when nobody is signed in. */
  user(): Promise<User | null>
  /** Who was signed in when last asked, without waiting. */
  knownUser(): User | null
  /** @throws MiniMartError invalid_credentials, email_not_verified, … */
  signIn(email: string, password: string): Promise<User>
  /** Signed out here in any case. @throws MiniMartError when the server could not be told */
  signOut(): Promise<void>
  /** @throws MiniMartError signed_out, network_error */
  accessToken(wish?: TokenWish): Promise<string>
}

export interface SessionDeps {
  transport: Transport
  storage: TokenStorage
  now: () => number
  random: () => number
  timeoutMs: number
  onSignedOut: (reason: SignedOutReason) => void
}

const refreshTimeoutMs = 4000
const refreshTries = 6
const retries = { firstMs: 200, maxMs: 3000 }
const usualLifeMs = 10_000

export function createSession(deps: SessionDeps): AuthSession {
  const { transport, storage, now, random } = deps
  let current: StoredSession | null = null
  let restoring: Promise<void> | null = null
  let refreshing: Promise<StoredSession> | null = null
  /** Goes up when somebody else is signed in, or nobody: an answer that comes later is not for them. */
  let turn = 0

  const restore = (): Promise<void> => {
    restoring ??= (async () => {
      try {
        current ??= await storage.load()
      } catch (error) {
        restoring = null
        throw error
      }
    })()
    return restoring
  }

  const keep = async ({ user, ...tokens }: Tokens): Promise<StoredSession> => {
    const { access_token, refresh_token, expires_in } = tokens
    current = { access_token, refresh_token, expires_at: now() + expires_in * 1000, user }
    await storage.save(current)
    return current
  }

  const end = async (reason: SignedOutReason): Promise<void> => {
    turn++
    current = null
    try {
      await storage.clear()
    } finally {
      deps.onSignedOut(reason)
    }
  }

  const isGood = (session: StoredSession, { not, lifeMs = usualLifeMs }: TokenWish): boolean =>
    session.access_token !== not && session.expires_at - now() > lifeMs

  const askForTokens = async (refreshToken: string): Promise<Tokens> => {
    for (let attempt = 0; ; attempt++)
      try {
        return await transport.send<Tokens>({
          method: 'POST',
          path: '/auth/refresh',
          body: { refresh_token: refreshToken },
          timeoutMs: refreshTimeoutMs,
        })
      } catch (error) {
        if (!isMiniMartError(error) || !mayPass(error) || attempt + 1 >= refreshTries) throw error
        const pauseMs = attempt === 0 ? 0 : backoffMs(attempt - 1, { ...retries, random })
        await sleep(Math.min(Math.max(pauseMs, error.retryAfterMs ?? 0), retries.maxMs))
      }
  }

  const renew = async (wish: TokenWish): Promise<StoredSession> => {
    const began = turn
    const stored = await storage.load()
    if (!current || turn !== began) throw signedOutError()
    if (stored && stored.user.id === current.user.id) current = stored
    if (isGood(current, wish)) return current
    try {
      const tokens = await askForTokens(current.refresh_token)
      if (turn !== began) throw signedOutError()
      return await keep(tokens)
    } catch (error) {
      if (!isMiniMartError(error) || !isRefusal(error) || turn !== began) throw error
      await end('session_ended')
      throw signedOutError(error.detail)
    }
  }

  const accessToken = async (wish: TokenWish = {}): Promise<string> => {
    await restore()
    if (!current) throw signedOutError()
    if (isGood(current, wish)) return current.access_token
    refreshing ??= renew(wish).finally(() => {
      refreshing = null
    })
    return (await refreshing).access_token
  }

  return {
    async user() {
      await restore()
      return current?.user ?? null
    },
    knownUser: () => current?.user ?? null,
    async signIn(email, password) {
      await restore()
      const tokens = await transport.send<Tokens>({
        method: 'POST',
        path: '/auth/login',
        body: { email, password },
        timeoutMs: deps.timeoutMs,
      })
      if (current) await end('signed_out')
      turn++
      return (await keep(tokens)).user
    },
    async signOut() {
      await restore()
      if (!current) return
      const before = current
      await end('signed_out')
      try {
        const tokens = isGood(before, {}) ? before : await askForTokens(before.refresh_token)
        const headers = { authorization: `Bearer ${tokens.access_token}` }
        await transport.send({ method: 'POST', path: '/auth/logout', headers, timeoutMs: deps.timeoutMs })
      } catch (error) {
        // 401: it had ended already.
        if (!isMiniMartError(error) || error.status !== 401) throw error
      }
    },
    accessToken,
  }
}

/** Trying again may help. */
const mayPass = ({ status }: MiniMartError): boolean => status === 0 || status === 429 || status >= 500

const isRefusal = ({ status, code }: MiniMartError): boolean =>
  code !== 'unexpected_answer' && (status === 400 || status === 401 || status === 403 || status === 422)
