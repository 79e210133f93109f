/** The result of a round of housekeeping, for the log and the metrics. */

export const cleanedKinds = [
  'events',
  'deleted_items',
  'keyed_calls',
  'store_entries',
  'audit_entries',
  'audit_refusals',
  'revocations',
  'spent_invitations',
  'unverified_users',
] as const
export type CleanedKind = (typeof cleanedKinds)[number]

/** `elsewhere`: another instance holds the lock. */
export const roundOutcomes = ['done', 'elsewhere', 'failed'] as const

export interface Round {
  outcome: (typeof roundOutcomes)[number]
  /** Counts for failed rounds as well: each batch commits on its own. */
  removed: Record<CleanedKind, number>
  /** People whose removal was announced. */
  announced: number
  seconds: number
}

export const newRound = (): Round => ({
  outcome: 'done',
  removed: {
    ...{ events: 0, deleted_items: 0, keyed_calls: 0, store_entries: 0, audit_entries: 0, audit_refusals: 0 },
    ...{ revocations: 0, spent_invitations: 0, unverified_users: 0 },
  },
  announced: 0,
  seconds: 0,
})
