import type { Logger } from '../log.ts'

/**
 * Work that goes on after its request was answered, so that the answer's time tells nothing about what is done.
 * Bounded: past `limit` pieces of work new ones are refused. A failure is logged, for nobody waits for it.
 */
export interface Background {
  /**
   * Answers false when there is too much to do already.
   * @param requestId of the request that was answered, for the log
   */
  run(what: string, requestId: string | null, work: () => Promise<unknown>): boolean
  /** Resolves when all has been done. */
  drain(): Promise<void>
}

export function createBackground(log: Logger, limit: number): Background {
  const running = new Set<Promise<void>>()
  return {
    run(what, requestId, work) {
      if (running.size >= limit) return false
      const piece: Promise<void> = work()
        .then(
          () => undefined,
          (error: unknown) => log.error(`${what} failed`, { request_id: requestId, error }),
        )
        .finally(() => running.delete(piece))
      running.add(piece)
      return true
    },
    async drain() {
      while (running.size > 0) await Promise.all(running)
    },
  }
}
