import { applyEvents, type ListState, type Self, stateOf } from './apply.ts'
import type { ListEvent } from './messages.ts'
import type { HistoryPosition, ListDetail } from './types.ts'

/** A copy of one list, made of a snapshot and the events after it. */
export interface Replica {
  /** Null until the first snapshot. */
  state(): ListState | null
  /** The seq of the last event taken. */
  head(): number
  /** Its position. */
  position(): HistoryPosition
  /** False when it was not taken, because events before it are missing. */
  take(event: ListEvent): boolean
  /** Until `replace`, events from now on are kept for the snapshot. */
  awaitSnapshot(): void
  isWaiting(): boolean
  /** False when events between the snapshot and those kept are missing. */
  replace(snapshot: ListDetail): boolean
  /** Applies the events taken so far. */
  flush(): void
}

/** More events than these, while waiting for a snapshot, are dropped and count as missing. */
const maxKept = 1000
/** So many events are applied together. */
const batchSize = 200

/** @param onState receives each new state and the events that led to it; none for a snapshot */
export function createReplica(
  self: () => Self,
  onState: (state: ListState, events: readonly ListEvent[]) => void,
): Replica {
  let state: ListState | null = null
  /** Taken, but not applied yet. */
  let batch: ListEvent[] = []
  let kept: ListEvent[] | null = null
  let keptAll = true

  const last = (): Pick<ListState, 'seq' | 'position'> => batch.at(-1) ?? state ?? { seq: 0, position: '0' }
  const head = (): number => last().seq

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
    position: () => last().position,
    take,
    awaitSnapshot() {
      flush()
      kept = []
      keptAll = true
    },
    isWaiting: () => kept !== null,
    replace(snapshot) {
      const events = kept ?? []
      let isComplete = keptAll
      kept = null
      keptAll = true
      batch = []
      state = stateOf(snapshot)
      onState(state, [])
      for (const event of events) isComplete = take(event) && isComplete
      return isComplete
    },
    flush,
  }
}
