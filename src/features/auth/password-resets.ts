/**
 * Password reset tokens: `tenant.user.epoch.secret`, stored as a MAC per user and consumed by compare-and-set, so that
 * only the newest link works, and only once.
 */
import { randomBytes } from 'node:crypto'
import { isUuid } from '../../lib/ids.ts'
import { equalInConstantTime, mac } from '../../lib/keys.ts'
import type { Store } from '../../store/store.ts'

export const resetTtlMinutes = 30

export interface ResetGrant {
  tenantId: string
  userId: string
  /** The user's session epoch at the time of the request: setting a password makes earlier links worthless. */
  sessionEpoch: number
}

export interface PasswordResets {
  issue(grant: ResetGrant): Promise<string>
  /** What a token grants, or null when it is wrong, used or expired. The token stays good. */
  check(token: string): Promise<ResetGrant | null>
  /** Uses the token up. @returns false when another request did so first */
  consume(token: string): Promise<boolean>
}

/** @param previousKeys links made with them are still good */
export function createPasswordResets(
  store: Store,
  key: Buffer,
  previousKeys: readonly Buffer[] = [],
): PasswordResets {
  const keyFor = (userId: string): string => `password-reset:${userId}`
  const proofsOf = (token: string): string[] =>
    [key, ...previousKeys].map((candidate) => mac(candidate, token))
  return {
    async issue({ tenantId, userId, sessionEpoch }) {
      const token = `${tenantId}.${userId}.${sessionEpoch}.${randomBytes(32).toString('base64url')}`
      await store.set(keyFor(userId), mac(key, token), resetTtlMinutes * 60)
      return token
    },
    async check(token) {
      const grant = readGrant(token)
      const stored = grant && (await store.get(keyFor(grant.userId)))
      return stored && proofsOf(token).some((proof) => equalInConstantTime(stored, proof)) ? grant : null
    },
    async consume(token) {
      const grant = readGrant(token)
      if (grant === null) return false
      for (const proof of proofsOf(token))
        if (await store.compareAndSet(keyFor(grant.userId), proof, null, 1)) return true
      return false
    },
  }
}

function readGrant(token: string): ResetGrant | null {
  const [tenantId = '', userId = '', epoch = ''] = token.split('.')
  return isUuid(tenantId) && isUuid(userId) && /^\d{1,9}$/.test(epoch)
    ? { tenantId, userId, sessionEpoch: Number(epoch) }
    : null
}
