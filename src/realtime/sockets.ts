import type { VerifiedToken } from '../access/access-tokens.ts'
import type { Actor } from '../access/actor.ts'
import { type Revocations, subjectKey } from '../access/revocations.ts'
import { type Connection, type ConnectionDeps, verifyToken } from './connection.ts'
import { limits } from './limits.ts'
import { closeCodes } from './protocol.ts'

/** Since the start. */
export interface SocketTotals {
  /** Includes those closed immediately. */
  opened: number
  /** By close code; codes we do not know are counted as 0. */
  closed: ReadonlyMap<number, number>
}

/** All sockets of this instance. */
export interface Sockets extends ConnectionDeps {
  /** Null when the token is missing, malformed, expired or revoked. */
  verify(token: string): Promise<VerifiedToken | null>
  /** Whether the user has reached the limit of open sockets. */
  isCrowded(user: Actor): boolean
  add(connection: Connection): void
  remove(connection: Connection): void
  countOpened(): void
  countClosed(code: number): void
  counts(): { sockets: number; subscriptions: number }
  totals(): SocketTotals
  /** Closes all with 1012, in batches, so that clients do not all reconnect at the same moment. */
  closeAll(): Promise<void>
}

const tickMs = 1000
const closeBatch = 100
const closePauseMs = 20
/** Ours, and those of RFC 6455 that say something about the service; a client may send any other. */
const countedCodes = [1000, 1001, 1006, 1009, ...Object.values(closeCodes).map(({ code }) => code)]

export function createSockets(
  deps: Omit<ConnectionDeps, 'onNewToken'> & { revocations: Revocations },
): Sockets {
  const connections = new Set<Connection>()
  const index = createIndex()
  let closing = false
  const timer = setInterval(() => {
    const [now, uptime] = [Date.now(), performance.now()]
    for (const connection of connections) connection.tick(now, uptime)
  }, tickMs)

  const stopListening = deps.revocations.onRevoked((tenantId, subject) => {
    for (const connection of index.of(tenantId, subject)) void connection.recheckToken()
  })

  const remove = (connection: Connection): void => {
    if (connections.delete(connection)) index.remove(connection, connection.token.actor)
  }

  return {
    ...deps,
    ...countSockets(),
    verify: (token) => verifyToken(deps.tokens, token),
    isCrowded: ({ tenantId, userId }) => index.of(tenantId, userId).size >= limits.socketsPerUser,
    add(connection) {
      if (closing) return connection.close(closeCodes.restarting)
      connections.add(connection)
      index.add(connection, connection.token.actor)
    },
    remove,
    onNewToken(connection, before) {
      if (!connections.has(connection)) return
      index.remove(connection, before.actor)
      index.add(connection, connection.token.actor)
    },
    counts: () => ({
      sockets: connections.size,
      subscriptions: [...connections].reduce((sum, connection) => sum + connection.subscriptions(), 0),
    }),
    async closeAll() {
      closing = true
      clearInterval(timer)
      stopListening()
      while (connections.size > 0) {
        for (const connection of [...connections].slice(0, closeBatch)) {
          remove(connection)
          connection.close(closeCodes.restarting)
        }
        await Bun.sleep(closePauseMs)
      }
    },
  }
}

/** Connections by what may be revoked: their session, user and tenant. */
function createIndex() {
  const bySubject = new Map<string, Set<Connection>>()
  const none: ReadonlySet<Connection> = new Set()
  const keysOf = ({ tenantId, userId, sessionId }: Actor): string[] =>
    [tenantId, userId, sessionId].map((subject) => subjectKey(tenantId, subject))
  return {
    of: (tenantId: string, subject: string): ReadonlySet<Connection> =>
      bySubject.get(subjectKey(tenantId, subject)) ?? none,
    add(connection: Connection, actor: Actor): void {
      for (const key of keysOf(actor)) {
        const found = bySubject.get(key)
        if (found) found.add(connection)
        else bySubject.set(key, new Set([connection]))
      }
    },
    remove(connection: Connection, actor: Actor): void {
      for (const key of keysOf(actor)) {
        const found = bySubject.get(key)
        found?.delete(connection)
        if (found?.size === 0) bySubject.delete(key)
      }
    },
  }
}

function countSockets(): Pick<Sockets, 'countOpened' | 'countClosed' | 'totals'> {
  let opened = 0
  const closed = new Map([0, ...countedCodes].map((code) => [code, 0]))
  return {
    countOpened() {
      opened++
    },
    countClosed(code) {
      const counted = closed.has(code) ? code : 0
      closed.set(counted, (closed.get(counted) ?? 0) + 1)
    },
    totals: () => ({ opened, closed }),
  }
}
