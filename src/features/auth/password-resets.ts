/**
 * Password reset tokens: `tenant.user.epoch.secret`. MACs of a user's last three are stored, so that nobody who asks for
 * another makes the link worthless that its owner is about to use. They are consumed by compare-and-set, all of them
 * with the one that is used.
 */
import { randomBytes } from 'node:crypto'
import { type Static, Type } from '@sinclair/typebox'
import type { RateLimits } from '../../access/rate-limits.ts'
import { isUuid } from '../../lib/ids.ts'
import { equalInConstantTime, mac } from '../../lib/keys.ts'
import type { Store } from '../../store/store.ts'
import { type ReportUnfit, storedJson } from '../../store/stored-json.ts'
import { isOnItsWay, type MailedSecret, nobody, renewEntry, type SecretHolder } from './mailed-secrets.ts'

export const resetTtlMinutes = 30

export interface ResetGrant {
  tenantId: string
  userId: string
  /** The user's session epoch at the time of the request: setting a password makes earlier links worthless. */
  sessionEpoch: number
}

export interface PasswordResets {
  /**
   * A token for a new link, beside the two before it.
   * @param holder null: nobody, in the same time
   * @param mayMail whether the holder may be mailed it
   * @returns null where there is none to mail: the last one may still be on its way, or `mayMail` refuses
   */
  renew(
    holder: (ResetGrant & SecretHolder) | null,
    mayMail: RateLimits['mayMail'],
  ): Promise<MailedSecret | null>
  /** What a token grants, or null when it is wrong, used or expired. The token stays good. */
  check(token: string): Promise<ResetGrant | null>
  /** Uses the token up, and the user's other ones. @returns false when another request did so first */
  consume(token: string): Promise<boolean>
}

const Entry = Type.Object({
  version: Type.Literal(1),
  /** Oldest first. `expiresAt`: milliseconds since 1970. */
  links: Type.Array(Type.Object({ proof: Type.String(), expiresAt: Type.Number() })),
})
type Link = Static<typeof Entry>['links'][number]

const maxEntryBytes = 1024
const keptBeside = 2
const ttlMs = resetTtlMinutes * 60_000

/** @param previousKeys links made with them are still good */
export function createPasswordResets(
  store: Store,
  key: Buffer,
  previousKeys: readonly Buffer[],
  reportUnfit: ReportUnfit,
): PasswordResets {
  const readEntry = storedJson('password reset', Entry, maxEntryBytes, reportUnfit)
  /** Null for what does not fit. */
  const linksIn = (stored: string | null): Link[] | null => {
    if (stored === null) return []
    // The release before kept the MAC of one link as it is; when it was made is not known.
    if (bareProof.test(stored)) return [{ proof: stored, expiresAt: Date.now() + ttlMs / 2 }]
    return readEntry(stored)?.links.filter(({ expiresAt }) => expiresAt > Date.now()) ?? null
  }
  const keyFor = (userId: string): string => `password-reset:${userId}`
  const isAmong = (links: readonly Link[] | null, token: string): boolean =>
    [key, ...previousKeys]
      .map((candidate) => mac(candidate, token))
      .some((proof) => links?.some((link) => equalInConstantTime(link.proof, proof)))

  return {
    async renew(holder, mayMail) {
      const { tenantId, userId, sessionEpoch } = holder ?? { tenantId: '', userId: nobody(), sessionEpoch: 0 }
      const token = `${tenantId}.${userId}.${sessionEpoch}.${randomBytes(32).toString('base64url')}`
      const link: Link = { proof: mac(key, token), expiresAt: Date.now() + ttlMs }
      const read = async () => {
        const before = await store.get(keyFor(userId))
        const found = linksIn(before)
        const links = found ?? []
        const isDue = !links.some(({ expiresAt }) => isOnItsWay(expiresAt - ttlMs))
        const entry: Static<typeof Entry> = { version: 1, links: [...links.slice(-keptBeside), link] }
        return { before, fits: found !== null, next: isDue ? JSON.stringify(entry) : null }
      }
      const [entryKey, ttlSeconds] = [keyFor(userId), ttlMs / 1000]
      const withdraw = await renewEntry({ store, holder, mayMail, key: entryKey, ttlSeconds, read })
      return withdraw && { value: token, withdraw }
    },

    async check(token) {
      const grant = readGrant(token)
      const links = grant ? linksIn(await store.get(keyFor(grant.userId))) : []
      return isAmong(links, token) ? grant : null
    },

    async consume(token) {
      const grant = readGrant(token)
      if (grant === null) return false
      for (;;) {
        const stored = await store.get(keyFor(grant.userId))
        if (!isAmong(linksIn(stored), token)) return false
        if (await store.compareAndSet(keyFor(grant.userId), stored, null, 1)) return true
      }
    },
  }
}

const bareProof = /^[\w-]{43}$/

function readGrant(token: string): ResetGrant | null {
  const [tenantId = '', userId = '', epoch = ''] = token.split('.')
  return isUuid(tenantId) && isUuid(userId) && /^\d{1,9}$/.test(epoch)
    ? { tenantId, userId, sessionEpoch: Number(epoch) }
    : null
}
