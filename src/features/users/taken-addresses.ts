/**
 * How often a tenant may learn that an address has an account elsewhere: 20 times an hour. Past it nobody is added, taken
 * or not, or the answer would still tell.
 */
import { AppError } from '../../errors.ts'
import type { Store } from '../../store/store.ts'

export interface TakenAddresses {
  /** Runs before the address is looked at. @throws AppError rate_limited (429), redis_unavailable, database_unavailable (503) */
  refuseExhausted(tenantId: string): Promise<void>
  /** Counts one that was taken. @throws AppError as refuseExhausted */
  count(tenantId: string): Promise<void>
}

const maxPerHour = 20
const hourSeconds = 3600

export function createTakenAddresses(store: Store): TakenAddresses {
  const keyFor = (tenantId: string): string => `taken-addresses:${tenantId}`
  const count = async (tenantId: string): Promise<void> => {
    const { count: taken, expiresInMs } = await store.increment(keyFor(tenantId), hourSeconds)
    if (taken > maxPerHour)
      throw new AppError('rate_limited', 'Too many addresses that are taken. Try again later.', {
        retryAfterSeconds: expiresInMs / 1000,
      })
  }
  return {
    count,
    async refuseExhausted(tenantId) {
      // Counting once more reveals when the hour ends, and does not put that off.
      if (Number((await store.get(keyFor(tenantId))) ?? 0) >= maxPerHour) await count(tenantId)
    },
  }
}
