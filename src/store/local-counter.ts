/** Counts in this process, as `Store.increment` does in the store. For keys that strangers make up: they must take no room there. */
export interface LocalCounter {
  /** 0 for a key that is not counted. */
  count(key: string): number
  /** Starts from 0. The first increment sets the TTL; later ones do not extend it. */
  increment(key: string, ttlSeconds: number): { count: number; expiresInMs: number }
}

export interface LocalCounterOptions {
  /** Milliseconds on a monotonic clock. */
  now?: () => number
  /** The least recently used are forgotten. */
  maxKeys?: number
}

export function createLocalCounter({
  now = () => performance.now(),
  maxKeys = 100_000,
}: LocalCounterOptions = {}): LocalCounter {
  const counters = new Map<string, { count: number; expiresAt: number }>()
  const find = (key: string) => {
    const found = counters.get(key)
    return found && found.expiresAt > now() ? found : null
  }
  return {
    count: (key) => find(key)?.count ?? 0,
    increment(key, ttlSeconds) {
      const { count, expiresAt } = find(key) ?? { count: 0, expiresAt: now() + ttlSeconds * 1000 }
      // Deleted first, so that the map stays ordered by last use.
      counters.delete(key)
      counters.set(key, { count: count + 1, expiresAt })
      const { value: oldest } = counters.keys().next()
      if (counters.size > maxKeys && oldest !== undefined) counters.delete(oldest)
      return { count: count + 1, expiresInMs: expiresAt - now() }
    },
  }
}
