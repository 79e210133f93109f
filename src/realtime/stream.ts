/**
 * One list's events on this instance: in order, each once, none missing.
 *
 * `head` is the position of the last event emitted. The next event is emitted, an earlier one dropped; a later one waits
 * a moment, as commits of one list can overtake each other on their way here, and then the gap is read from the
 * database. Nothing depends on the broker: heads are also compared with the database every few seconds. Where the
 * database turns out to hold another history than the one emitted, everyone is told to read the list again.
 */
import type { ListEvent } from '../features/list-changes/events.ts'
import type { HistoryPosition } from '../lib/history-position.ts'
import type { Logger } from '../log.ts'
import type { EventPage } from './event-log.ts'

export interface StreamDeps {
  log: Logger
  /** The events after `cursor`. @throws AppError database_unavailable */
  read: (cursor: HistoryPosition) => Promise<EventPage>
  /** Sends an event to everyone on the topic. */
  deliver: (event: ListEvent) => void
  /**
   * Takes listeners that may no longer see the list off the topic. Called when events were not read, one of which may
   * have ended a membership; nothing is emitted until it resolves. @throws AppError database_unavailable
   */
  reauthorize: () => Promise<void>
  /** Tells everyone on the topic to read the list again, as of `head` at least. */
  resync: (head: HistoryPosition) => void
  onGapFilled: (count: number, firstSeq: number) => void
}

export interface Stream {
  /** The position of the last event emitted. */
  head(): HistoryPosition
  enqueue(events: readonly ListEvent[]): void
  /**
   * Compares the head with the database, and emits everything up to `seq`, or to the end of the list where that comes
   * first.
   * @throws AppError database_unavailable
   */
  catchUp(seq: number): Promise<void>
  close(): void
}

const reorderMs = 20
const maxEarly = 256
const retryMs = 500

export function createStream(from: HistoryPosition, deps: StreamDeps): Stream {
  const sequencer = createSequencer(from, deps.deliver)
  const { head } = sequencer
  let target = from.seq
  let isUnverified = false
  let filling: Promise<void> | null = null
  let timer: Timer | undefined
  let closed = false

  const isBehind = (): boolean => isUnverified || head().seq < target

  const fillGap = async (): Promise<void> => {
    isUnverified = false
    const { events, head: end, state } = await deps.read(head())
    if (closed) return
    if (state !== 'continues') {
      await deps.reauthorize()
      if (closed) return
      if (state === 'changed') target = end.seq
      sequencer.moveTo(end)
      deps.resync(end)
      return
    }
    const missed = events.filter(({ seq }) => seq > head().seq)
    sequencer.push(events)
    if (missed[0]) deps.onGapFilled(missed.length, missed[0].seq)
    // The database has no more, so there is nothing to wait for.
    else target = Math.min(target, Math.max(head().seq, end.seq))
  }

  const fillGaps = async (): Promise<void> => {
    while (!closed && isBehind()) await fillGap()
  }

  /** One at a time, shared by all who wait for it. */
  const startFilling = (): Promise<void> => {
    clearTimeout(timer)
    timer = undefined
    filling ??= fillGaps().finally(() => {
      filling = null
    })
    return filling
  }

  const fillLater = (delayMs: number): void => {
    if (closed || filling || timer) return
    timer = setTimeout(() => {
      timer = undefined
      if (!isBehind()) return
      startFilling().catch((error: unknown) => {
        deps.log.warn('missed events could not be read from the database; trying again', { error })
        fillLater(retryMs)
      })
    }, delayMs)
  }

  return {
    head,
    enqueue(events) {
      for (const { seq } of events) target = Math.max(target, seq)
      sequencer.push(events)
      if (isBehind()) fillLater(reorderMs)
    },
    async catchUp(seq) {
      target = Math.max(target, seq)
      isUnverified = true
      while (isBehind() && !closed) await startFilling()
    },
    close() {
      closed = true
      clearTimeout(timer)
    },
  }
}

/** Emits each event once and in order, and keeps up to `maxEarly` that arrive too soon. */
function createSequencer(from: HistoryPosition, emit: (event: ListEvent) => void) {
  let head = from
  const early = new Map<number, ListEvent>()

  /** One that does not follow the last by its mark is of another history: the database decides which holds. */
  const follows = ({ seq, previous }: ListEvent): boolean => seq === head.seq + 1 && previous === head.mark

  const emitNext = (event: ListEvent): void => {
    head = { seq: event.seq, mark: event.mark }
    emit(event)
  }

  return {
    head: (): HistoryPosition => head,
    push(events: readonly ListEvent[]): void {
      for (const event of events) {
        if (follows(event)) emitNext(event)
        else if (event.seq > head.seq && early.size < maxEarly) early.set(event.seq, event)
      }
      for (let next = early.get(head.seq + 1); next && follows(next); next = early.get(head.seq + 1))
        emitNext(next)
      for (const seq of early.keys()) if (seq <= head.seq) early.delete(seq)
    },
    /** What arrived early may be of the history that was left. */
    moveTo(position: HistoryPosition): void {
      head = position
      early.clear()
    },
  }
}
