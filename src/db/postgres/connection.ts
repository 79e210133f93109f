/**
 * One connection to PostgreSQL that carries groups of statements one behind the other without waiting for answers.
 * A lane is one connection and never two: postgres.js would reconnect by itself and run the rest of a broken group
 * on the new connection, without its BEGIN and its tenant; here the client gets its socket from us, once, and when
 * that is gone the lane is dead, everything on it fails, and the pool takes another lane.
 */
import type { Socket } from 'node:net'
import postgres from 'postgres'
import { errorCode } from '../errors.ts'
import { asText, beginOf, columnParsers, type Statement } from '../statement.ts'
import { openSocket, type SocketTarget } from './socket.ts'

export interface LaneOptions {
  readonly url: string
  /** Start-up parameters of the session. */
  readonly parameters: Readonly<Record<string, string>>
  /** For connecting and signing in. */
  readonly connectTimeoutSeconds: number
}

export interface Answer {
  readonly rows: Record<string, unknown>[]
  /** The command tag's first word: COMMIT, or ROLLBACK where a COMMIT found a failed transaction. */
  readonly command: string
}

export interface Lane {
  readonly alive: boolean
  /** performance.now() */
  readonly openedAt: number
  /** Statements sent and not yet answered. */
  readonly outstanding: number
  /**
   * Sends all statements in one synchronous step, so that nothing gets between them, and gives an outcome for each,
   * in order, once all are settled; groups of different callers may change places. Never rejects.
   */
  send(statements: readonly Statement[]): Promise<PromiseSettledResult<Answer>[]>
  /** Cuts the connection; whatever is outstanding fails with CONNECTION_DESTROYED. */
  destroy(): void
  /** Lets what is outstanding finish, for that long at most. */
  end(timeoutSeconds: number): Promise<void>
}

/** @param onNeverReady called once if the lane is lost before it answered anything */
export function openLane(options: LaneOptions, onNeverReady: () => void = () => undefined): Lane {
  let alive = true
  let ready = false
  let outstanding = 0
  let whenIdle = (): void => undefined
  let socket: Socket | undefined
  const prepared = new Set<string>()

  const takeSocket = async (target: SocketTarget): Promise<Socket> => {
    if (socket !== undefined || !alive) return die(connectionClosed())
    try {
      socket = await openSocket(target, options.connectTimeoutSeconds * 1000)
    } catch (error) {
      return die(error)
    }
    return alive ? socket : die(connectionClosed())
  }
  const die = (error: unknown): never => {
    destroy()
    throw error
  }
  const destroy = (): void => {
    if (!alive) return
    alive = false
    if (!ready) onNeverReady()
    // Upstream, end() can wait for ever without a timeout; the socket goes last, half-open or not.
    client
      .end({ timeout: 0 })
      .catch(() => undefined)
      .finally(() => socket?.destroy())
  }
  // `socket` is an option of postgres.js that its types leave out, so this is no literal in the call.
  const clientOptions = {
    max: 1,
    max_lifetime: null,
    connect_timeout: options.connectTimeoutSeconds,
    fetch_types: false,
    connection: options.parameters,
    types: typeHandlers,
    onnotice: () => undefined,
    onclose: () => destroy(),
    socket: takeSocket,
  }
  const client = postgres(options.url, clientOptions)

  const start = ({ text, parameters }: Statement): Promise<Answer> => {
    const reusable = prepared.has(text) || prepared.size < maxPrepared
    const simple = controlStatements.has(text)
    if (reusable && !simple) prepared.add(text)
    const query = client.unsafe(text, parameters, { prepare: reusable && !simple, ...{ simple } })
    Object.defineProperties(query, guards)
    return query.execute().then((rows) => {
      // A plain array: theirs carries the session's secret, and whatever else, into logs and comparisons.
      return { rows: rows.slice(), command: rows.command ?? '' }
    })
  }

  /**
   * postgres.js does not keep the order of what it is given while it connects (its `onopen` starts half of the queue,
   * then lets newcomers pass the other half), which would tear groups apart. So nothing is given to it before.
   */
  const opened = start({ text: 'select 1', parameters: [] }).then(
    () => {
      ready = true
      return null
    },
    (reason: unknown): PromiseRejectedResult => {
      destroy()
      return { status: 'rejected', reason }
    },
  )

  return {
    openedAt: performance.now(),
    get alive() {
      return alive
    },
    get outstanding() {
      return outstanding
    },
    send: async (statements) => {
      outstanding += statements.length
      const failure = ready ? null : await opened
      const settled = failure
        ? statements.map(() => failure)
        : await Promise.allSettled(statements.map(start))
      outstanding -= statements.length
      if (outstanding === 0) whenIdle()
      return settled
    },
    destroy,
    end: async (timeoutSeconds) => {
      // postgres.js' own end() forgets statements that it has not sent yet.
      if (outstanding > 0)
        await new Promise<void>((resolve) => {
          whenIdle = resolve
          setTimeout(resolve, timeoutSeconds * 1000).unref()
        })
      await client.end({ timeout: 1 })
      alive = false
      socket?.destroy()
    },
  }
}

/** @throws the first statement's error, which is the cause; later ones only say that the transaction is aborted. */
export function answersOf(settled: readonly PromiseSettledResult<Answer>[]): Answer[] {
  return settled.map((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason
    return outcome.value
  })
}

const connectionClosed = (): Error =>
  Object.assign(new Error('The connection to the database is gone'), { code: 'CONNECTION_CLOSED' })

/** Distinct statements kept prepared on one connection; further ones are planned each time. */
const maxPrepared = 400

/** Sent as they are in one message, without a plan. */
const controlStatements: ReadonlySet<string> = new Set([...Object.values(beginOf), 'commit', 'rollback'])

/** Parameters come as text and go as they are; postgres.js' own serializers would quote JSON twice. */
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
 * Two properties of postgres.js' query objects, replaced on each query.
 * `retried`: on a stale plan postgres.js sends a query again by itself, behind the others, where its transaction and
 * tenant are no longer in force. It notes the error here first, so that is where the query is failed instead.
 * `origin`: computing it for a failed query puts an entry into a map that is never emptied.
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
