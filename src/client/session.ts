import { isMiniMartError, type MiniMartError, signedOutError } from './error.ts'
import type { StoredSession, TokenStorage } from './storage.ts'
import { backoffMs, sleep } from './timing.ts'
import type { Transport } from './transport.ts'
import type { Tokens, User } from './types.ts'

/** `signed_out`: by signOut or another signIn. `session_ended`: the server has ended it. */
export type SignedOutReason = 'signed_out' | 'session_ended'

export interface TokenRequirements {
  /** A token that was refused or is about to expire: any but this one. */
  not?: string
  /** How long it should be valid; a token that was just issued is returned in any case. */
  minLifeMs?: number
}

/** Who is signed in, and a valid access token. However many calls need a new one, it is refreshed once. */
export interface AuthSession {
  /** Read from the storage at first; null when nobody is signed in. */
  user(): Promise<User | null>
  /** The same from memory. */
  knownUser(): User | null
  /** @throws MiniMartError invalid_credentials, email_not_verified, … */
  signIn(email: string, password: string): Promise<User>
  /** Signs out here in any case. @throws MiniMartError when the server could not be reached */
  signOut(): Promise<void>
  /** @throws MiniMartError signed_out, network_error */
  accessToken(requirements?: TokenRequirements): Promise<string>
}

export interface SessionDeps {
  transport: Transport
  storage: TokenStorage
  now: () => number
  random: () => number
  timeoutMs: number
  onSignedOut: (reason: SignedOutReason) => void
}

const defaultMinLifeMs = 10_000

export function createSession(deps: SessionDeps): AuthSession {
  const { storage, now } = deps
  let current: StoredSession | null = null
  let restoring: Promise<void> | null = null
  let refreshing: Promise<StoredSession> | null = null
  /** Changes when somebody signs in or out: answers to requests of an earlier one are ignored. */
  let generation = 0

  const restore = async (): Promise<void> => {
    current ??= await storage.load()
  }
  const restored = (): Promise<void> => {
    restoring ??= restore().catch((error: unknown) => {
      restoring = null
      throw error
    })
    return restoring
  }

  const keep = async ({ user, access_token, refresh_token, expires_in }: Tokens): Promise<StoredSession> => {
    current = { access_token, refresh_token, expires_at: now() + expires_in * 1000, user }
    await storage.save(current)
    return current
  }

  const end = async (reason: SignedOutReason): Promise<void> => {
    generation++
    current = null
    try {
      await storage.clear()
    } finally {
      deps.onSignedOut(reason)
    }
  }

  const renew = async (requirements: TokenRequirements): Promise<StoredSession> => {
    const started = generation
    const stored = await storage.load()
    if (!current || generation !== started) throw signedOutError()
    if (stored && stored.user.id === current.user.id) current = stored
    if (isGoodFor(current, requirements, now())) return current
    try {
      const tokens = await refresh(deps, current.refresh_token)
      if (generation !== started) throw signedOutError()
      return await keep(tokens)
    } catch (error) {
      if (!isMiniMartError(error) || !isRefusal(error) || generation !== started) throw error
      await end('session_ended')
      throw signedOutError(error.detail)
    }
  }

  return {
    async user() {
      await restored()
      return current?.user ?? null
    },
    knownUser: () => current?.user ?? null,
    async signIn(email, password) {
      await restored()
      const tokens = await logIn(deps, email, password)
      if (current) await end('signed_out')
      generation++
      return (await keep(tokens)).user
    },
    async signOut() {
      await restored()
      if (!current) return
      const session = current
      await end('signed_out')
      await logOut(deps, session, isGoodFor(session, {}, now()))
    },
    async accessToken(requirements = {}) {
      await restored()
      if (!current) throw signedOutError()
      if (isGoodFor(current, requirements, now())) return current.access_token
      refreshing ??= renew(requirements).finally(() => {
        refreshing = null
      })
      return (await refreshing).access_token
    },
  }
}

const isGoodFor = (
  { access_token, expires_at }: StoredSession,
  { not, minLifeMs = defaultMinLifeMs }: TokenRequirements,
  now: number,
): boolean => access_token !== not && expires_at - now > minLifeMs

const logIn = ({ transport, timeoutMs }: SessionDeps, email: string, password: string): Promise<Tokens> =>
  transport.send<Tokens>({ method: 'POST', path: '/auth/login', body: { email, password }, timeoutMs })

async function logOut(deps: SessionDeps, session: StoredSession, isFresh: boolean): Promise<void> {
  try {
    const { access_token } = isFresh ? session : await refresh(deps, session.refresh_token)
    const headers = { authorization: `Bearer ${access_token}` }
    await deps.transport.send({ method: 'POST', path: '/auth/logout', headers, timeoutMs: deps.timeoutMs })
  } catch (error) {
    // 401: the session had ended already.
    if (!isMiniMartError(error) || error.status !== 401) throw error
  }
}

/**
 * After a lost answer the server returns the same successor again for 10 seconds, so the first retry is immediate, and
 * the timeout short enough for more than one attempt.
 */
const refreshTimeoutMs = 4000
const refreshAttempts = 6
const backoff = { firstMs: 200, maxMs: 3000 }

async function refresh({ transport, random }: SessionDeps, refreshToken: string): Promise<Tokens> {
  for (let attempt = 0; ; attempt++)
    try {
      return await transport.send<Tokens>({
        method: 'POST',
        path: '/auth/refresh',
        body: { refresh_token: refreshToken },
        timeoutMs: refreshTimeoutMs,
      })
    } catch (error) {
      if (!isMiniMartError(error) || !isTransient(error) || attempt + 1 >= refreshAttempts) throw error
      const pauseMs = attempt === 0 ? 0 : backoffMs(attempt - 1, { ...backoff, random })
      await sleep(Math.min(Math.max(pauseMs, error.retryAfterMs ?? 0), backoff.maxMs))
    }
}

const isTransient = ({ status }: MiniMartError): boolean => status === 0 || status === 429 || status >= 500

const isRefusal = ({ status, code }: MiniMartError): boolean =>
  code !== 'unexpected_answer' && (status === 400 || status === 401 || status === 403 || status === 422)
