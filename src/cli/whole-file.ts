import { openTarget, standardOutput, type Target, type WhereFileIs } from '../backup/target.ts'

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Gives `work` the file to write, or standard output for `-`. It has its name once `work` has ended well; where that
 * fails or is interrupted, nothing is left of it.
 * @returns what `work` answered, and the size in bytes
 */
export async function withWholeFile<T>(
  path: string,
  where: WhereFileIs,
  work: (write: Target['write']) => Promise<T>,
): Promise<[T, number]> {
  const target = path === '-' ? standardOutput() : await openTarget(path, where)
  const stop = (): never => {
    target.discard()
    process.exit(1)
  }
  for (const signal of signals) process.once(signal, stop)
  try {
    const answer = await work(target.write)
    return [answer, await target.commit()]
  } catch (error) {
    target.discard()
    throw error
  } finally {
    for (const signal of signals) process.off(signal, stop)
  }
}
