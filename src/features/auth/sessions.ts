/**
 * Refresh sessions. A session is one signed-in device; its refresh token is rotated at each use (RFC 9700, section
 * 4.14.2), and reuse of a rotated token ends the session.
 *
 * A refresh token is `user.session.number.proof`, the proof being a MAC over the rest and the session's salt. The
 * token of a number can thus be computed at any time and none is ever stored: a phone that lost the answer to its
 * refresh asks again within the grace period and gets the same successor. The signing key without the salt, or the
 * store without the key, makes no token.
 *
 * All sessions of a user live under one key and change by compare-and-set, so the store settles the race between two
 * devices, or between a refresh and a sign-out.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Static, Type } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { AppError } from '../../errors.ts'
import { newId } from '../../lib/ids.ts'
import { equalInConstantTime, mac } from '../../lib/keys.ts'
import { uuidPattern } from '../../lib/patterns.ts'
import type { Store } from '../../store/store.ts'
import { type ReportUnfit, storedJson } from '../../store/stored-json.ts'

/**
 * A session as it is stored. `version` goes up when a field changes its meaning, not when one is added. Sessions of a
 * later version are left alone: during an upgrade, instances of two releases share the store.
 */
const Id = Type.RegExp(uuidPattern)
const Time = Type.RegExp(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
const Session = Type.Object({
  version: Type.Optional(Type.Literal(1)),
  id: Id,
  tenantId: Id,
  /** Number of the current refresh token. */
  number: Type.Integer(),
  salt: Type.String(),
  /** Epochs of the user's sessions and of the tenant when it began; a later one in the database ends it. */
  sessionEpoch: Type.Integer(),
  tenantEpoch: Type.Integer(),
  createdAt: Time,
  lastUsedAt: Time,
  expiresAt: Time,
  address: Type.String(),
  userAgent: Type.String(),
})
export type Session = Static<typeof Session>

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

/** Each method throws AppError redis_unavailable, database_unavailable or busy (503) when the store fails. */
export interface Sessions {
  /** Beyond 50 sessions, the least recently used ones end: the caller revokes them in the database as well. */
  begin(session: NewSession): Promise<{ session: Session; refreshToken: string; pushedOut: Session[] }>
  /** The live session that a token was issued for, whether or not the token was used; null for any other text. */
  find(refreshToken: string): Promise<{ userId: string; session: Session } | null>
  /** Changes nothing when the token was reused: the caller ends the session, in the database as well. */
  rotate(refreshToken: string): Promise<Rotation>
  list(userId: string): Promise<Session[]>
  /** @returns whether there was one */
  end(userId: string, sessionId: string): Promise<boolean>
  /** Ends all sessions, or all but one, which goes on under the new epoch. */
  endAll(userId: string, exempt?: { sessionId: string; sessionEpoch: number }): Promise<void>
}

const maxSessionsPerUser = 50
const reuseGraceMs = 10_000
const maxAttempts = 40

/** @param previousKeys tokens made with them are still good; their successors are made with `key` */
export function createSessions(
  store: Store,
  key: Buffer,
  ttlSeconds: number,
  previousKeys: readonly Buffer[],
  reportUnfit: ReportUnfit,
): Sessions {
  const stored = storedSessions(store, ttlSeconds, reportUnfit)
  const tokens = refreshTokens(key, previousKeys)
  const times = () => ({
    lastUsedAt: new Date().toISOString(),
    expiresAt: new Date(Date.now() + ttlSeconds * 1000).toISOString(),
  })

  return {
    async begin({ userId, ...rest }) {
      const salt = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString('base64url')
      const now = times()
      const session: Session = {
        ...{ version: 1, id: newId(), number: 1, salt },
        ...{ createdAt: now.lastUsedAt, ...now, ...rest },
      }
      const pushedOut = await stored.update(userId, (sessions) => {
        const all = [session, ...sessions.toSorted(byLastUse)]
        return { next: all.slice(0, maxSessionsPerUser), result: all.slice(maxSessionsPerUser) }
      })
      return { session, refreshToken: tokens.tokenOf(userId, session), pushedOut }
    },

    async find(refreshToken) {
      const claim = readToken(refreshToken)
      if (!claim) return null
      const session = tokens.find(await stored.read(claim.userId), refreshToken, claim)
      return session ? { userId: claim.userId, session } : null
    },

    async rotate(refreshToken) {
      const claim = readToken(refreshToken)
      if (!claim) return { outcome: 'unknown' }
      const { userId, number } = claim
      const rotated = (session: Session): Rotation => ({
        outcome: 'rotated',
        session,
        refreshToken: tokens.tokenOf(userId, session),
      })
      return stored.update<Rotation>(userId, (sessions) => {
        const session = tokens.find(sessions, refreshToken, claim)
        if (!session) return { next: null, result: { outcome: 'unknown' } }
        if (wasJustRotated(session, number)) return { next: null, result: rotated(session) }
        if (number !== session.number) return { next: null, result: { outcome: 'reused' } }
        const renewed = { ...session, number: number + 1, ...times() }
        return { next: [renewed, ...sessions.filter((other) => other !== session)], result: rotated(renewed) }
      })
    },

    list: async (userId) => (await stored.read(userId)).toSorted(byLastUse),

    end: (userId, sessionId) =>
      stored.update(userId, (sessions) => {
        const next = sessions.filter((session) => session.id !== sessionId)
        return next.length === sessions.length ? { next: null, result: false } : { next, result: true }
      }),

    endAll: (userId, exempt) =>
      stored.update(userId, (sessions) => ({
        next: sessions
          .filter((session) => session.id === exempt?.sessionId)
          .map((session) => ({ ...session, sessionEpoch: exempt?.sessionEpoch ?? session.sessionEpoch })),
        result: undefined,
      })),
  }
}

const byLastUse = (a: Session, b: Session): number => b.lastUsedAt.localeCompare(a.lastUsedAt)

/** Only the immediate predecessor of the current token has the grace period. */
const wasJustRotated = (session: Session, number: number): boolean =>
  session.number === number + 1 && Date.now() - Date.parse(session.lastUsedAt) < reuseGraceMs

const sessionCheck = TypeCompiler.Compile(Session)
const laterCheck = TypeCompiler.Compile(Type.Object({ version: Type.Integer({ minimum: 2 }) }))
/** More than 50 sessions take, and another one fits into a value of the store. */
const maxStoredBytes = 56 * 1024

/** The sessions of each user as the store has them, expired ones left out. */
function storedSessions(store: Store, ttlSeconds: number, reportUnfit: ReportUnfit) {
  const keyFor = (userId: string): string => `sessions:${userId}`
  const read = storedJson('sessions', Type.Array(Type.Unknown()), maxStoredBytes, reportUnfit)
  const parse = (text: string | null): { live: Session[]; later: unknown[]; fits: boolean } => {
    const all = read(text)
    const sessions = all?.filter((one) => sessionCheck.Check(one)) ?? []
    const later = all?.filter((one) => laterCheck.Check(one)) ?? []
    if (all && sessions.length + later.length < all.length) reportUnfit('session')
    return {
      live: sessions.filter(({ expiresAt }) => Date.parse(expiresAt) > Date.now()),
      later,
      fits: all !== null || text === null,
    }
  }

  /** What does not fit may be no text that could be compared, so it goes before anything takes its place. */
  const readToChange = async (userId: string) => {
    const text = await store.get(keyFor(userId))
    const parsed = parse(text)
    if (parsed.fits) return { ...parsed, text }
    await store.delete(keyFor(userId))
    return { ...parsed, text: null }
  }

  return {
    read: async (userId: string): Promise<Session[]> => parse(await store.get(keyFor(userId))).live,

    /** `change` gets the live sessions and returns those to keep, or null to leave them as they are. */
    async update<T>(
      userId: string,
      change: (sessions: Session[]) => { next: Session[] | null; result: T },
    ): Promise<T> {
      for (let attempt = 0; attempt < maxAttempts; attempt++) {
        const { live, later, text: before } = await readToChange(userId)
        const { next, result } = change(live)
        if (next === null) return result
        const all = [...next, ...later]
        const after = all.length === 0 ? null : JSON.stringify(all)
        if (before === after || (await store.compareAndSet(keyFor(userId), before, after, ttlSeconds)))
          return result
        await sleep(Math.random() * 10 * Math.min(attempt, 10))
      }
      throw new AppError('busy', 'Too many sign-ins to this account at once. Try again.', {
        retryAfterSeconds: 1,
      })
    },
  }
}

function refreshTokens(key: Buffer, previousKeys: readonly Buffer[]) {
  const tokenOf = (userId: string, { id, number, salt }: Session, signingKey = key): string => {
    const body = `${userId}.${id}.${number}`
    return `${body}.${mac(signingKey, `${body}.${salt}`)}`
  }
  return {
    tokenOf: (userId: string, session: Session): string => tokenOf(userId, session),

    /** The session whose token this is, or was. */
    find: (sessions: Session[], token: string, { userId, sessionId, number }: TokenClaim) =>
      sessions.find(
        (session) =>
          session.id === sessionId &&
          [key, ...previousKeys].some((candidate) =>
            equalInConstantTime(token, tokenOf(userId, { ...session, number }, candidate)),
          ),
      ),
  }
}

/** What a token says, not yet proved. */
interface TokenClaim {
  userId: string
  sessionId: string
  number: number
}

function readToken(token: string): TokenClaim | null {
  const [, userId, sessionId, number] =
    /^([0-9a-f-]{36})\.([0-9a-f-]{36})\.([1-9]\d{0,8})\.[\w-]{43}$/.exec(token) ?? []
  return userId && sessionId && number ? { userId, sessionId, number: Number(number) } : null
}
