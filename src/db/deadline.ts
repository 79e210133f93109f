import { databaseUnavailable } from './errors.ts'

/**
 * The outcome of `work`, or after `ms` AppError `database_unavailable`, `passed` being called first to give up what
 * the work holds. `work` is never left without a handler.
 */
export function withDeadline<T>(work: Promise<T>, ms: number, passed: () => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      passed()
      reject(databaseUnavailable('The database did not answer in time.'))
    }, ms)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
