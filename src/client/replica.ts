/** A copy of one list: takes events in order, tells when one is missing, and is replaced by a snapshot when it must. */
import { applyEvents, type ListState, type Self, stateOf } from './apply.ts'
import type { ListEvent } from './messages.ts'
import type { ListDetail } from './types.ts'

export interface Replica {
  /** Null until the first snapshot. */
  state(): ListState | null
  /** Number of the last event taken. */
  head(): number
  /** False when events before it are missing: it was not taken. */
  take(event: ListEvent): boolean
  /** From here until `replace`, events are kept for the snapshot that is on its way. */
  awaitSnapshot(): void
  isWaiting(): boolean
  /** False when events between the snapshot and those kept for it are missing. */
  replace(snapshot: ListDetail): boolean
  /** Puts what was taken into the state. */
  flush(): void
}

/** Events kept for a snapshot; what comes beyond them shows as missing. */
const maxKept = 1000
/** Of a long replay, how many events go into one state. */
const batchSize = 200

/** @param onState gets each new state and the events that made it; none for a snapshot */
export function createReplica(
  self: () => Self,
  onState: (state: ListState, events: readonly ListEvent[]) => void,
): Replica {
  let state: ListState | null = null
  /** In order after `state.seq`, not yet in it. */
  let batch: ListEvent[] = []
  let kept: ListEvent[] | null = null
  let keptAll = true

  const head = (): number => batch.at(-1)?.seq ?? state?.seq ?? 0

  const flush = (): void => {
    if (!state || batch.length === 0) return
    const events = batch
    batch = []
    state = applyEvents(state, events, self())
    onState(state, events)
  }

  const take = (event: ListEvent): boolean => {
    if (kept) {
      if (kept.length < maxKept) kept.push(event)
      else keptAll = false
      return true
    }
    if (event.seq <= head()) return true
    if (event.seq !== head() + 1) return false
    batch.push(event)
    if (batch.length >= batchSize) flush()
    return true
  }

  return {
    state: () => state,
    head,
    take,
    awaitSnapshot() {
      flush()
      kept ??= []
    },
    isWaiting: () => kept !== null,
    replace(snapshot) {
      const events = kept ?? []
      let isWhole = keptAll
      kept = null
      keptAll = true
      batch = []
      state = stateOf(snapshot)
      onState(state, [])
      for (const event of events) isWhole = take(event) && isWhole
      return isWhole
    },
    flush,
  }
}
