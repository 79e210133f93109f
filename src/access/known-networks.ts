/**
 * The networks that an account was signed in from lately. Whoever comes from one of them is hardly the stranger who
 * tries other people's passwords, so the limits and the line of the hasher keep room for them that no stranger can use
 * up. Kept as MACs: the store reveals neither the addresses nor whose they are.
 */
import { Type } from '@sinclair/typebox'
import { mac } from '../lib/keys.ts'
import type { Store } from '../store/store.ts'
import { type ReportUnfit, storedJson } from '../store/stored-json.ts'
import { networksOf } from './client-address.ts'

export interface KnownNetworks {
  /**
   * Whether somebody signed in to the account from this network within 30 days. Takes a round trip, the same for an
   * address of nobody.
   * @throws AppError redis_unavailable, database_unavailable, busy (503)
   */
  includes(email: string, address: string): Promise<boolean>
  /** Of a successful sign-in. @throws AppError as `includes` */
  remember(email: string, address: string): Promise<void>
}

/** `at`: milliseconds since 1970. Latest first. */
const Entry = Type.Object({
  version: Type.Literal(1),
  networks: Type.Array(Type.Object({ proof: Type.String(), at: Type.Number() })),
})

const maxNetworks = 20
const maxEntryBytes = 4096
const ttlSeconds = 30 * 86_400
/** A network that is used every day is written once a day. */
const renewAfterMs = 86_400_000
const maxAttempts = 5

/**
 * @param key with another one, all networks are strange again until the next sign-in
 * @param now milliseconds since 1970
 */
export function createKnownNetworks(
  store: Store,
  key: Buffer,
  reportUnfit: ReportUnfit,
  now: () => number = Date.now,
): KnownNetworks {
  const read = storedJson('known networks', Entry, maxEntryBytes, reportUnfit)
  const keyFor = (email: string): string => `known-networks:${mac(key, email)}`
  const proofOf = (email: string, address: string): string =>
    mac(key, `${email}\n${networksOf(address)[0]}`).slice(0, 22)
  /** Null for what does not fit. */
  const live = (stored: string | null) =>
    stored === null ? [] : (read(stored)?.networks.filter(({ at }) => at > now() - ttlSeconds * 1000) ?? null)

  return {
    async includes(email, address) {
      const networks = live(await store.get(keyFor(email)))
      const proof = proofOf(email, address)
      return networks?.some((known) => known.proof === proof) ?? false
    },

    async remember(email, address) {
      const proof = proofOf(email, address)
      // Of many sign-ins at the same moment some may lose every race; the next one is remembered.
      for (let attempt = 0; attempt < maxAttempts; attempt++) {
        const stored = await store.get(keyFor(email))
        const networks = live(stored)
        if (networks?.some((known) => known.proof === proof && now() - known.at < renewAfterMs)) return
        // What does not fit may be no text that could be compared.
        if (networks === null) await store.delete(keyFor(email))
        const others = (networks ?? []).filter((known) => known.proof !== proof)
        const next = { version: 1, networks: [{ proof, at: now() }, ...others].slice(0, maxNetworks) }
        const before = networks === null ? null : stored
        if (await store.compareAndSet(keyFor(email), before, JSON.stringify(next), ttlSeconds)) return
      }
    },
  }
}
