/** What one round of housekeeping did, for the log and the metrics. */

export const clearedKinds = [
  'events',
  'store_entries',
  'audit_entries',
  'revocations',
  'unverified_users',
] as const
export type Cleared = (typeof clearedKinds)[number]

/** `elsewhere`: another instance was at it, and this one left it alone. */
export const roundOutcomes = ['done', 'elsewhere', 'failed'] as const

export interface Round {
  outcome: (typeof roundOutcomes)[number]
  /** Also of a round that failed later: each batch is committed by itself. */
  removed: Record<Cleared, number>
  /** People whose removal was announced. */
  announced: number
  seconds: number
}

export const newRound = (): Round => ({
  outcome: 'done',
  removed: { events: 0, store_entries: 0, audit_entries: 0, revocations: 0, unverified_users: 0 },
  announced: 0,
  seconds: 0,
})
