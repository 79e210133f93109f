/** All sockets of this instance: their clock, their revocation, their end. */

import type { VerifiedToken } from '../access/access-tokens.ts'
import type { Revocations } from '../access/revocations.ts'
import { AppError } from '../errors.ts'
import type { Connection, ConnectionDeps } from './connection.ts'
import { limits } from './limits.ts'
import { closeCodes } from './protocol.ts'

/** Since the start. */
export interface SocketTotals {
  /** Also those that were refused at once. */
  opened: number
  /** By the close code; what is none of ours counts as 0. */
  closed: ReadonlyMap<number, number>
}

export interface Sockets extends ConnectionDeps {
  /** Null for a token that is missing, bad, expired or revoked. */
  verify(token: string): Promise<VerifiedToken | null>
  /** Whether this user has all the sockets that one may have. */
  isCrowded(userId: string): boolean
  add(connection: Connection): void
  remove(connection: Connection): void
  /** A socket was opened, or closed with this code. */
  countOpened(): void
  countClosed(code: number): void
  counts(): { sockets: number; subscriptions: number }
  totals(): SocketTotals
  /** Closes all with 1012, some at a time, so that they do not all come back at one moment. */
  closeAll(): Promise<void>
}

const tickMs = 1000
const closedAtOnce = 100
const closePauseMs = 20
/** CONTRACT's own, and those of RFC 6455 that say something about us; a client may send any other. */
const countedCodes = [1000, 1001, 1006, 1009, ...Object.values(closeCodes).map(({ code }) => code)]

export function createSockets(deps: ConnectionDeps & { revocations: Revocations }): Sockets {
  const connections = new Set<Connection>()
  const socketsOf = new Map<string, number>()
  let closing = false
  let opened = 0
  const closed = new Map([0, ...countedCodes].map((code) => [code, 0]))
  const timer = setInterval(() => {
    const now = Date.now()
    for (const connection of connections) connection.tick(now)
  }, tickMs)

  const stopListening = deps.revocations.onRevoked((subject) => {
    for (const connection of connections) {
      const { userId, tenantId, sessionId } = connection.token.actor
      if (subject === userId || subject === tenantId || subject === sessionId) void connection.recheckToken()
    }
  })

  const countOf = ({ token }: Connection, change: 1 | -1): void => {
    const { userId } = token.actor
    const count = (socketsOf.get(userId) ?? 0) + change
    if (count === 0) socketsOf.delete(userId)
    else socketsOf.set(userId, count)
  }

  const remove = (connection: Connection): void => {
    if (connections.delete(connection)) countOf(connection, -1)
  }

  return {
    ...deps,
    isCrowded: (userId) => (socketsOf.get(userId) ?? 0) >= limits.socketsPerUser,
    async verify(token) {
      try {
        return await deps.tokens.read(token)
      } catch (error) {
        if (error instanceof AppError && error.status === 401) return null
        throw error
      }
    },
    add(connection) {
      if (closing) connection.close(closeCodes.restarting)
      else {
        connections.add(connection)
        countOf(connection, 1)
      }
    },
    remove,
    countOpened: () => {
      opened++
    },
    countClosed: (code) => {
      const counted = closed.has(code) ? code : 0
      closed.set(counted, (closed.get(counted) ?? 0) + 1)
    },
    counts: () => ({
      sockets: connections.size,
      subscriptions: [...connections].reduce((sum, connection) => sum + connection.subscriptions(), 0),
    }),
    totals: () => ({ opened, closed }),
    async closeAll() {
      closing = true
      clearInterval(timer)
      stopListening()
      while (connections.size > 0) {
        for (const connection of [...connections].slice(0, closedAtOnce)) {
          remove(connection)
          connection.close(closeCodes.restarting)
        }
        await Bun.sleep(closePauseMs)
      }
    },
  }
}
