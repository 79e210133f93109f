/**
 * One list's events on this instance, in order, each once, none missing.
 *
 * `head` is the last number given to the topic. What the broker brings is compared with it: the next number is given
 * out, a lower one dropped, a higher one means that something was missed and is read from the database. Because
 * commits of one list can overtake each other on their way here, a higher number first waits a moment for the ones
 * before it. Nothing depends on the broker being right: heads are compared with the database every few seconds too.
 */
import type { ListEvent, ListKey } from '../features/list-changes/events.ts'
import type { Logger } from '../log.ts'
import type { EventPage } from './event-log.ts'

export interface StreamDeps {
  log: Logger
  read: (list: ListKey, cursor: number) => Promise<EventPage>
  /** Gives one event to everyone on the topic, and does what it means for who may hear the next. */
  deliver: (list: ListKey, event: ListEvent) => void
  /**
   * Events are lost for good: takes off the topic whoever may hear the list no longer. Until it is done nothing is
   * given out. @throws AppError database_unavailable
   */
  readmit: () => Promise<void>
  /** Tells everyone on the topic that events before `seq` are lost. */
  resync: (list: ListKey, seq: number) => void
  /** How many events had to be read from the database, and the number of the first. */
  onHealed: (count: number, firstSeq: number) => void
}

export interface Stream {
  /** Number of the last event given out. */
  head(): number
  offer(events: readonly ListEvent[]): void
  /** Gives out everything up to at least `seq`, reading what is missing. @throws AppError database_unavailable */
  reach(seq: number): Promise<void>
  close(): void
}

/** How long an event that came early waits for the ones before it. */
const patienceMs = 20
const maxEarly = 256
const retryMs = 500

export function createStream(list: ListKey, from: number, deps: StreamDeps): Stream {
  let head = from
  let wanted = from
  let healing: Promise<void> | null = null
  let timer: Timer | undefined
  let closed = false
  const early = new Map<number, ListEvent>()

  const giveOut = (event: ListEvent): void => {
    head = event.seq
    deps.deliver(list, event)
  }

  const giveOutEarly = (): void => {
    for (let next = early.get(head + 1); next; next = early.get(head + 1)) {
      early.delete(next.seq)
      giveOut(next)
    }
    for (const seq of early.keys()) if (seq <= head) early.delete(seq)
  }

  const heal = async (): Promise<void> => {
    while (!closed && head < wanted) {
      const { events, seq, expired } = await deps.read(list, head)
      if (closed) return
      if (expired) {
        await deps.readmit()
        if (closed) return
        head = Math.max(head, seq)
        deps.resync(list, head)
      }
      const missed = events.filter((event) => event.seq > head)
      for (const event of missed) if (event.seq === head + 1) giveOut(event)
      if (missed[0]) deps.onHealed(missed.length, missed[0].seq)
      giveOutEarly()
      // A number that the database does not know yet cannot be reached.
      if (missed.length === 0 && !expired) wanted = Math.min(wanted, Math.max(head, seq))
    }
  }

  const startHealing = (): Promise<void> => {
    clearTimeout(timer)
    timer = undefined
    healing ??= heal().finally(() => {
      healing = null
    })
    return healing
  }

  const healLater = (delayMs: number): void => {
    if (closed || healing || timer) return
    timer = setTimeout(() => {
      timer = undefined
      if (head >= wanted) return
      startHealing().catch((error: unknown) => {
        deps.log.warn('missed events could not be read; trying again', { error })
        healLater(retryMs)
      })
    }, delayMs)
  }

  return {
    head: () => head,
    offer(events) {
      for (const event of events) {
        if (event.seq <= head) continue
        wanted = Math.max(wanted, event.seq)
        if (event.seq === head + 1) giveOut(event)
        else if (early.size < maxEarly) early.set(event.seq, event)
      }
      giveOutEarly()
      if (head < wanted) healLater(patienceMs)
    },
    async reach(seq) {
      wanted = Math.max(wanted, seq)
      while (head < wanted && !closed) await startHealing()
    },
    close() {
      closed = true
      clearTimeout(timer)
      early.clear()
    },
  }
}
