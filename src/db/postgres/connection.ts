/**
 * One connection to PostgreSQL that pipelines: batches of statements are sent without waiting for the results of those
 * before. It is never reopened; when it is lost everything on it fails, and the pool opens another.
 */
import pTimeout from 'p-timeout'
import type { Statement } from '../statement.ts'
import { type ConnectionOptions, openDriver, type StatementResult } from './driver.ts'

export interface Connection {
  readonly alive: boolean
  /** performance.now() */
  readonly openedAt: number
  /** Statements sent and not yet answered. */
  readonly outstanding: number
  /**
   * Sends all statements in one synchronous step, so that nothing gets between them, and resolves with their outcomes,
   * in order, once all are settled. Batches of different callers may swap places. Never rejects.
   */
  send(statements: readonly Statement[]): Promise<PromiseSettledResult<StatementResult>[]>
  /** Cuts the connection; whatever is outstanding fails with CONNECTION_DESTROYED. */
  destroy(): void
  /** Closes the connection once nothing is outstanding, or after that time. */
  end(timeoutSeconds: number): Promise<void>
}

/** @param onConnectFailed called once if the connection is lost before its first answer */
export function openConnection(
  options: ConnectionOptions,
  onConnectFailed: () => void = () => undefined,
): Connection {
  let ready = false
  let outstanding = 0
  let onIdle = (): void => undefined
  const driver = openDriver(options, () => {
    if (!ready) onConnectFailed()
  })

  /**
   * postgres.js does not keep the order of what it is given while it connects (its `onopen` starts half of its queue,
   * then lets newcomers pass the other half), which would tear batches apart. So it gets nothing before this answer.
   */
  const opened = driver.execute(applySettings(options)).then(
    () => {
      ready = true
      return null
    },
    (reason: unknown): PromiseRejectedResult => {
      driver.destroy()
      return { status: 'rejected', reason }
    },
  )

  return {
    openedAt: performance.now(),
    get alive() {
      return driver.alive
    },
    get outstanding() {
      return outstanding
    },
    send: async (statements) => {
      outstanding += statements.length
      const failure = ready ? null : await opened
      const settled = failure
        ? statements.map(() => failure)
        : await Promise.allSettled(statements.map(driver.execute))
      outstanding -= statements.length
      if (outstanding === 0) onIdle()
      return settled
    },
    destroy: driver.destroy,
    end: async (timeoutSeconds) => {
      if (outstanding > 0) {
        const { promise: idle, resolve } = Promise.withResolvers<void>()
        onIdle = resolve
        await pTimeout(idle, { milliseconds: timeoutSeconds * 1000, message: false })
      }
      await driver.end()
    },
  }
}

/** Not at start-up, where PgBouncer refuses parameters that it does not know. */
function applySettings({ settings }: ConnectionOptions): Statement {
  const calls = Object.keys(settings).map(
    (_, index) => `set_config($${2 * index + 1}, $${2 * index + 2}, false)`,
  )
  return { text: `select ${calls.join(', ') || '1'}`, parameters: Object.entries(settings).flat() }
}

/** @throws the first statement's error, which is the cause; later ones only say that the transaction is aborted. */
export function resultsOf(settled: readonly PromiseSettledResult<StatementResult>[]): StatementResult[] {
  return settled.map((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason
    return outcome.value
  })
}
