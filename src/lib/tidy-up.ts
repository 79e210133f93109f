import type { Logger } from '../log.ts'

/**
 * For what follows a commit and only tidies up. The change stands, so a failure here is for the operator to know and
 * not for the caller, who would take it for the failure of the change.
 */
export const tidyUp = (log: Logger, what: string, work: Promise<unknown>): Promise<void> =>
  work.then(
    () => undefined,
    (error: unknown) => log.warn(`${what} failed`, { error }),
  )
