import type { Logger } from '../log.ts'

/**
 * For clean-up after a commit: the change stands, so a failure is logged and not thrown, or the caller would take it
 * for a failure of the change.
 */
export const logFailure = (log: Logger, what: string, work: Promise<unknown>): Promise<void> =>
  work.then(
    () => undefined,
    (error: unknown) => log.warn(`${what} failed`, { error }),
  )
