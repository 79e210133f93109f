/**
 * Refresh sessions. A session is one signed-in device; its refresh token is rotated at each use (RFC 9700, section
 * 4.14.2) and the reuse of a rotated one ends the session.
 *
 * A refresh token is `user.session.number.proof`, the proof being a MAC over the rest and the session's salt. So the
 * token of a number can be made again at any time and none is ever stored: a phone that lost the answer to its
 * refresh asks again within the grace and gets the very same successor. The signing key alone (without the salt) or
 * the store alone (without the key) makes no token.
 *
 * All sessions of a user live under one key and change by compare-and-set, so two devices racing, or a refresh
 * racing a sign-out, are settled by the store.
 */
import { AppError } from '../../errors.ts'
import { newId } from '../../lib/ids.ts'
import { equalInConstantTime, mac } from '../../lib/keys.ts'
import type { Store } from '../../store/store.ts'

export interface Session {
  id: string
  tenantId: string
  /** Number of the refresh token that is good now. */
  number: number
  salt: string
  /** Epochs of the user's sessions and of the tenant when it began; a later one in the database ends it. */
  sessionEpoch: number
  tenantEpoch: number
  createdAt: string
  lastUsedAt: string
  expiresAt: string
  address: string
  userAgent: string
}

export interface NewSession {
  userId: string
  tenantId: string
  sessionEpoch: number
  tenantEpoch: number
  address: string
  userAgent: string
}

export type Rotation =
  | { outcome: 'rotated'; session: Session; refreshToken: string }
  | { outcome: 'reused' }
  | { outcome: 'unknown' }

export interface Sessions {
  /** Beyond 50 sessions the one longest unused ends. @throws AppError redis_unavailable, database_unavailable, busy */
  begin(session: NewSession): Promise<{ session: Session; refreshToken: string }>
  /** The living session a token was made for, whether or not the token was used; null for any other text. */
  find(refreshToken: string): Promise<{ userId: string; session: Session } | null>
  /** Changes nothing when the token was reused: ending the session is the caller's, who can do it for good. */
  rotate(refreshToken: string): Promise<Rotation>
  list(userId: string): Promise<Session[]>
  /** Answers whether there was one. */
  end(userId: string, sessionId: string): Promise<boolean>
  /** Ends all, or all but one, which goes on under the new epoch. */
  endAll(userId: string, spared?: { sessionId: string; sessionEpoch: number }): Promise<void>
}

const maxSessionsPerUser = 50
const reuseGraceMs = 10_000
const maxAttempts = 40

/** @param previousKeys tokens made with them are still good; their successors are made with `key` */
export function createSessions(
  store: Store,
  key: Buffer,
  ttlSeconds: number,
  previousKeys: readonly Buffer[] = [],
): Sessions {
  const place = (userId: string): string => `sessions:${userId}`

  const tokenOf = (userId: string, session: Session, signingKey = key): string => {
    const body = `${userId}.${session.id}.${session.number}`
    return `${body}.${mac(signingKey, `${body}.${session.salt}`)}`
  }

  const sessionOf = (sessions: Session[], refreshToken: string, read: ReadToken): Session | undefined =>
    sessions.find(
      (session) =>
        session.id === read.sessionId &&
        [key, ...previousKeys].some((candidate) =>
          equalInConstantTime(
            refreshToken,
            tokenOf(read.userId, { ...session, number: read.number }, candidate),
          ),
        ),
    )

  /** `change` gets the living sessions and answers what shall be, or null to leave all as it is. */
  const update = async <T>(
    userId: string,
    change: (sessions: Session[]) => { next: Session[] | null; result: T },
  ) => {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const before = await store.get(place(userId))
      const { next, result } = change(living(parse(before)))
      if (next === null) return result
      const after = next.length === 0 ? null : JSON.stringify(next)
      if (before === after || (await store.compareAndSet(place(userId), before, after, ttlSeconds)))
        return result
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10 * Math.min(attempt, 10)))
    }
    throw new AppError('busy', 'Too many sign-ins of this account at once. Try again.', {
      retryAfterSeconds: 1,
    })
  }

  const expiry = (): string => new Date(Date.now() + ttlSeconds * 1000).toISOString()

  return {
    async begin({ userId, ...rest }) {
      const now = new Date().toISOString()
      const salt = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString('base64url')
      const session = {
        id: newId(),
        number: 1,
        salt,
        createdAt: now,
        lastUsedAt: now,
        expiresAt: expiry(),
        ...rest,
      }
      await update(userId, (sessions) => ({
        next: [session, ...sessions.toSorted(byLastUse)].slice(0, maxSessionsPerUser),
        result: null,
      }))
      return { session, refreshToken: tokenOf(userId, session) }
    },

    async find(refreshToken) {
      const read = readToken(refreshToken)
      if (!read) return null
      const { userId } = read
      const session = sessionOf(living(parse(await store.get(place(userId)))), refreshToken, read)
      return session ? { userId, session } : null
    },

    async rotate(refreshToken) {
      const read = readToken(refreshToken)
      if (!read) return { outcome: 'unknown' }
      const { userId, number } = read
      return update<Rotation>(userId, (sessions) => {
        const session = sessionOf(sessions, refreshToken, read)
        if (!session) return { next: null, result: { outcome: 'unknown' } }
        const again =
          session.number === number + 1 && Date.now() - Date.parse(session.lastUsedAt) < reuseGraceMs
        if (again)
          return {
            next: null,
            result: { outcome: 'rotated', session, refreshToken: tokenOf(userId, session) },
          }
        if (number !== session.number) return { next: null, result: { outcome: 'reused' } }
        const renewed = {
          ...session,
          number: number + 1,
          lastUsedAt: new Date().toISOString(),
          expiresAt: expiry(),
        }
        return {
          next: [renewed, ...sessions.filter((candidate) => candidate !== session)],
          result: { outcome: 'rotated', session: renewed, refreshToken: tokenOf(userId, renewed) },
        }
      })
    },

    list: async (userId) => living(parse(await store.get(place(userId)))).toSorted(byLastUse),

    end: (userId, sessionId) =>
      update(userId, (sessions) => {
        const next = sessions.filter((session) => session.id !== sessionId)
        return next.length === sessions.length ? { next: null, result: false } : { next, result: true }
      }),

    endAll: (userId, spared) =>
      update(userId, (sessions) => ({
        next: sessions
          .filter((session) => session.id === spared?.sessionId)
          .map((session) => ({ ...session, sessionEpoch: spared?.sessionEpoch ?? session.sessionEpoch })),
        result: undefined,
      })),
  }
}

const byLastUse = (a: Session, b: Session): number => b.lastUsedAt.localeCompare(a.lastUsedAt)

const parse = (text: string | null): Session[] => (text === null ? [] : (JSON.parse(text) as Session[]))

const living = (sessions: Session[]): Session[] =>
  sessions.filter((session) => Date.parse(session.expiresAt) > Date.now())

interface ReadToken {
  userId: string
  sessionId: string
  number: number
}

function readToken(token: string): ReadToken | null {
  const [, userId, sessionId, number] =
    /^([0-9a-f-]{36})\.([0-9a-f-]{36})\.([1-9]\d{0,8})\.[\w-]{43}$/.exec(token) ?? []
  return userId && sessionId && number ? { userId, sessionId, number: Number(number) } : null
}
