import type { Logger } from '../log.ts'

/**
 * Work that goes on after its request was answered, so that the time of the answer reveals nothing about it. Failures
 * are logged: nobody waits for the outcome.
 */
export interface Background {
  /**
   * Starts `work`, or returns false when the limit is reached.
   * @param what names it in the log
   * @param requestId of the request that was answered, for the log
   */
  run(what: string, requestId: string | null, work: () => Promise<unknown>): boolean
  /** Resolves once everything has finished. */
  drain(): Promise<void>
}

/** @param limit of tasks running at once */
export function createBackground(log: Logger, limit: number): Background {
  const running = new Set<Promise<void>>()
  return {
    run(what, requestId, work) {
      if (running.size >= limit) return false
      const task: Promise<void> = work()
        .then(
          () => undefined,
          (error: unknown) => log.error(`${what} failed`, { request_id: requestId, error }),
        )
        .finally(() => running.delete(task))
      running.add(task)
      return true
    },
    async drain() {
      while (running.size > 0) await Promise.all(running)
    },
  }
}

/**
 * For clean-up after a commit: the change stands, so a failure is logged and not thrown, or the caller would take it
 * for a failure of the change.
 */
export const logFailure = (log: Logger, what: string, work: Promise<unknown>): Promise<void> =>
  work.then(
    () => undefined,
    (error: unknown) => log.warn(`${what} failed`, { error }),
  )
