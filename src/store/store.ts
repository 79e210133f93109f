/**
 * Short-lived state with a time to live: refresh sessions, one-time codes, spent invitations.
 * Two implementations (Redis, a table) behind one interface, held to one test suite.
 *
 * Atomicity contract: each call is atomic by itself and sees every call that was answered before it,
 * on whichever instance. An expired entry behaves exactly like one that was never there.
 * Keys are up to 512 bytes, values up to 64 KiB, TTLs at least one second.
 * Every call throws AppError `redis_unavailable` or `database_unavailable` (503) when its backend cannot answer.
 */
export interface Store {
  get(key: string): Promise<string | null>
  set(key: string, value: string, ttlSeconds: number): Promise<void>
  /** Answers whether there was something to delete. */
  delete(key: string): Promise<boolean>
  /**
   * Writes `next` only if the key now holds `expected`; null stands for "nothing", on either side,
   * so (null, x) creates and (x, null) takes away. Answers whether it did.
   */
  compareAndSet(
    key: string,
    expected: string | null,
    next: string | null,
    ttlSeconds: number,
  ): Promise<boolean>
  /** Counts up from nothing; the TTL starts with the first count and is not prolonged by later ones. */
  increment(key: string, ttlSeconds: number): Promise<{ count: number; expiresInMs: number }>
  /** Throws when the backend cannot answer. */
  ping(): Promise<void>
  close(): Promise<void>
}
