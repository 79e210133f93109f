/**
 * postgres.js, held to one socket and to our order of sending. All that leans on its private parts is in this file. It
 * was read at version 3.4.9; tests/unit/postgres-driver.test.ts fails when the version changes or a part moves.
 */
import type { Socket } from 'node:net'
import postgres from 'postgres'
import { errorCode } from '../errors.ts'
import { asText, beginSql, columnParsers, type Statement } from '../statement.ts'
import { openSocket, type SocketTarget } from './socket.ts'

export interface ConnectionOptions {
  readonly url: string
  /** Of the session, whose first statement makes them (connection.ts). */
  readonly settings: Readonly<Record<string, string>>
  /** For connecting and signing in. */
  readonly connectTimeoutSeconds: number
}

export interface StatementResult {
  readonly rows: Record<string, unknown>[]
  /** The command tag's first word: COMMIT, or ROLLBACK where a COMMIT found a failed transaction. */
  readonly command: string
  /** The backend that the server announced when the session began; not the real one where a pooler is in between. */
  readonly announcedPid: number | null
}

export interface Driver {
  readonly alive: boolean
  /** Statements keep the order of their calls, but only once the first of all has been answered. */
  execute(statement: Statement): Promise<StatementResult>
  /** Cuts the connection; whatever is outstanding fails with CONNECTION_DESTROYED. */
  destroy(): void
  /** Closes the connection. Statements that postgres.js has not sent yet would be lost, so let all finish first. */
  end(): Promise<void>
}

/**
 * Connects once and never again: postgres.js would reconnect by itself and run the rest of a broken batch on the new
 * connection, without its BEGIN and its tenant. So it gets its socket from us, and only one.
 * @param onDestroyed called once, when the connection is lost or destroyed
 */
export function openDriver(options: ConnectionOptions, onDestroyed: () => void): Driver {
  let alive = true
  let socket: Socket | undefined

  const destroy = (): void => {
    if (!alive) return
    alive = false
    onDestroyed()
    // Without a timeout postgres.js' end() can wait forever. The socket goes last, half-open or not.
    client
      .end({ timeout: 0 })
      .catch(() => undefined)
      .finally(() => socket?.destroy())
  }
  const fail = (error: unknown): never => {
    destroy()
    throw error
  }
  const openOnlySocket = async (target: SocketTarget): Promise<Socket> => {
    if (socket !== undefined || !alive) return fail(connectionClosed())
    try {
      socket = await openSocket(target, options.connectTimeoutSeconds * 1000)
    } catch (error) {
      return fail(error)
    }
    return alive ? socket : fail(connectionClosed())
  }
  // A variable, since the types of postgres.js lack its option `socket` and would refuse it in a literal.
  const clientOptions = {
    max: 1,
    max_lifetime: null,
    connect_timeout: options.connectTimeoutSeconds,
    fetch_types: false,
    types: typeHandlers,
    onnotice: () => undefined,
    onclose: () => destroy(),
    socket: openOnlySocket,
  }
  const client = postgres(options.url, clientOptions)

  return {
    get alive() {
      return alive
    },
    execute: createExecutor(client),
    destroy,
    end: async () => {
      await client.end({ timeout: 1 })
      alive = false
      socket?.destroy()
    },
  }
}

/** Distinct statements kept prepared on one connection; further ones are planned each time. */
const maxPrepared = 400

/** Sent in one message, without a plan. */
const controlStatements: ReadonlySet<string> = new Set([...Object.values(beginSql), 'commit', 'rollback'])

function createExecutor(client: postgres.Sql): Driver['execute'] {
  const prepared = new Set<string>()
  return ({ text, parameters }) => {
    const simple = controlStatements.has(text)
    const prepare = !simple && (prepared.has(text) || prepared.size < maxPrepared)
    if (prepare) prepared.add(text)
    // Spread, since the types of postgres.js lack `simple`.
    const query = client.unsafe(text, parameters, { prepare, ...{ simple } })
    Object.defineProperties(query, guards)
    return query.execute().then((rows) => {
      // A plain array: theirs carries the session's secret, among other things, into logs and comparisons.
      return { rows: rows.slice(), command: rows.command ?? '', announcedPid: rows.state.pid }
    })
  }
}

const connectionClosed = (): Error =>
  Object.assign(new Error('The connection to the database was lost.'), { code: 'CONNECTION_CLOSED' })

/** Parameters come as text and go as they are; the serializers of postgres.js would quote JSON twice. */
const typeHandlers = Object.fromEntries(
  [16, 17, 20, 114, 1082, 1114, 1184, 3802].map((oid) => [
    `oid${oid}`,
    { to: oid, from: [oid], serialize: asText, parse: columnParsers[oid] ?? asText },
  ]),
)

interface DriverQuery {
  cancelled: unknown
  reject(error: unknown): void
}

/**
 * Two properties replaced on each query object of postgres.js.
 * `retried`: on a stale plan postgres.js sends the query again, behind the others, where its transaction and tenant no
 * longer apply. It stores the error in this property first, so that is where we reject the query instead; one that is
 * `cancelled` is not sent.
 * `origin`: reading it for a failed query adds an entry to a map that is never emptied.
 */
const guards: PropertyDescriptorMap & ThisType<DriverQuery> = {
  origin: { value: '' },
  retried: {
    get: () => undefined,
    set(error: unknown) {
      this.cancelled = { code: errorCode(error) }
      this.reject(error)
    },
  },
}
