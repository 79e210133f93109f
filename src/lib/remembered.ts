/**
 * Makes something that may be asked for any number of times, and remembers it for a while.
 * @param make its failure is remembered no longer than it takes
 * @returns what was last made if that is at most `maxAgeMs` old, else what is made now: one at a time, for all who ask
 */
export function remembered<T>(maxAgeMs: number, make: () => Promise<T>): () => Promise<T> {
  let last: { value: T; madeAt: number } | null = null
  let making: Promise<T> | null = null
  const makeAgain = async (): Promise<T> => {
    try {
      const value = await make()
      last = { value, madeAt: performance.now() }
      return value
    } finally {
      making = null
    }
  }
  return async () => {
    if (last && performance.now() - last.madeAt <= maxAgeMs) return last.value
    making ??= makeAgain()
    return await making
  }
}
