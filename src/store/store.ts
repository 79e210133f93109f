/**
 * Short-lived state: sessions, one-time codes, redeemed invitations. Two implementations (Redis, a table) share one
 * test suite.
 *
 * Atomicity contract: each call is atomic and sees every call that returned before it, on whichever instance. An expired
 * entry behaves exactly like one that never existed.
 * Keys are up to 512 bytes, values up to 64 KiB, TTLs at least one second.
 * Every call throws AppError `redis_unavailable` or `database_unavailable` (503) when its backend is unavailable.
 */
export interface Store {
  get(key: string): Promise<string | null>
  set(key: string, value: string, ttlSeconds: number): Promise<void>
  /** Returns whether the key existed. */
  delete(key: string): Promise<boolean>
  /**
   * Writes `next` only if the key holds `expected`. Null stands for no entry on either side: (null, x) creates,
   * (x, null) deletes. Returns whether it did.
   */
  compareAndSet(
    key: string,
    expected: string | null,
    next: string | null,
    ttlSeconds: number,
  ): Promise<boolean>
  /** Starts from 0. The first increment sets the TTL; later ones do not extend it. */
  increment(key: string, ttlSeconds: number): Promise<{ count: number; expiresInMs: number }>
  ping(): Promise<void>
  close(): Promise<void>
}
