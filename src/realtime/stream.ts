/**
 * One list's events on this instance: in order, each once, none missing.
 *
 * `head` is the seq of the last event emitted. The next seq is emitted, a lower one dropped; a higher one waits a
 * moment, as commits of one list can overtake each other on their way here, and then the gap is read from the database.
 * Nothing depends on the broker: heads are also compared with the database every few seconds.
 */
import type { ListEvent } from '../features/list-changes/events.ts'
import type { Logger } from '../log.ts'
import type { EventPage } from './event-log.ts'

export interface StreamDeps {
  log: Logger
  /** The events after `cursor`. @throws AppError database_unavailable */
  read: (cursor: number) => Promise<EventPage>
  /** Sends an event to everyone on the topic. */
  deliver: (event: ListEvent) => void
  /**
   * Takes listeners that may no longer see the list off the topic. Called when events have expired unread, one of which
   * may have ended a membership; nothing is emitted until it resolves. @throws AppError database_unavailable
   */
  reauthorize: () => Promise<void>
  /** Tells everyone on the topic that events up to `seq` are lost. */
  resync: (seq: number) => void
  onGapFilled: (count: number, firstSeq: number) => void
}

export interface Stream {
  /** The seq of the last event emitted. */
  head(): number
  enqueue(events: readonly ListEvent[]): void
  /**
   * Emits everything up to `seq`, or to the end of the list where that comes first.
   * @throws AppError database_unavailable
   */
  catchUp(seq: number): Promise<void>
  close(): void
}

const reorderMs = 20
const maxEarly = 256
const retryMs = 500

export function createStream(from: number, deps: StreamDeps): Stream {
  const sequencer = createSequencer(from, deps.deliver)
  const { head } = sequencer
  let target = from
  let filling: Promise<void> | null = null
  let timer: Timer | undefined
  let closed = false

  const fillGaps = async (): Promise<void> => {
    while (!closed && head() < target) {
      const { events, seq, expired } = await deps.read(head())
      if (closed) return
      if (expired) {
        await deps.reauthorize()
        if (closed) return
        sequencer.skipTo(seq)
        deps.resync(head())
      }
      const missed = events.filter((event) => event.seq > head())
      sequencer.push(events)
      if (missed[0]) deps.onGapFilled(missed.length, missed[0].seq)
      // The database has no higher seq, so there is nothing to wait for.
      if (missed.length === 0 && !expired) target = Math.min(target, Math.max(head(), seq))
    }
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
      if (head() >= target) return
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
      if (head() < target) fillLater(reorderMs)
    },
    async catchUp(seq) {
      target = Math.max(target, seq)
      while (head() < target && !closed) await startFilling()
    },
    close() {
      closed = true
      clearTimeout(timer)
    },
  }
}

/** Emits each event once and in order, and keeps up to `maxEarly` that arrive too soon. */
function createSequencer(from: number, emit: (event: ListEvent) => void) {
  let head = from
  const early = new Map<number, ListEvent>()

  const emitNext = (event: ListEvent): void => {
    head = event.seq
    emit(event)
  }

  return {
    head: (): number => head,
    push(events: readonly ListEvent[]): void {
      for (const event of events) {
        if (event.seq === head + 1) emitNext(event)
        else if (event.seq > head && early.size < maxEarly) early.set(event.seq, event)
      }
      for (let next = early.get(head + 1); next; next = early.get(head + 1)) emitNext(next)
      for (const seq of early.keys()) if (seq <= head) early.delete(seq)
    },
    skipTo(seq: number): void {
      head = Math.max(head, seq)
    },
  }
}
