/**
 * Mail waiting for delivery: a bounded queue in memory, a few deliveries at a time, retries with exponential backoff.
 * At least once: when the response to a delivery is lost, the same message (same Message-ID) is sent again. What is
 * still queued when the process dies is lost; people can ask for codes and links again.
 */
import { setImmediate, setTimeout } from 'node:timers/promises'
import pTimeout from 'p-timeout'

export interface QueueOptions<Job> {
  /** One attempt. Its signal aborts after `attemptTimeoutMs`, and when draining times out. */
  deliver: (job: Job, signal: AbortSignal) => Promise<void>
  /** Whether another attempt cannot help. */
  isPermanent: (error: unknown) => boolean
  on: {
    sent: (job: Job, attempt: number) => void
    /** `nextInMs` is null after the last attempt. */
    failed: (job: Job, attempt: number, error: unknown, nextInMs: number | null) => void
    /** The queue is full or closed; the job was not attempted. */
    dropped: (job: Job, reason: 'full' | 'closed') => void
    /** Still unsent when draining timed out. */
    lost: (job: Job) => void
  }
  policy: QueuePolicy
}

export interface QueuePolicy {
  capacity: number
  concurrency: number
  attempts: number
  /** The first pause; each next is four times as long, up to `maxPauseMs`, all with ±25 % jitter. */
  firstPauseMs: number
  maxPauseMs: number
  attemptTimeoutMs: number
}

/** Six attempts in about ten minutes: longer than a mail server takes to restart, no longer than a code is valid. */
export const defaultPolicy: QueuePolicy = {
  capacity: 1000,
  concurrency: 5,
  attempts: 6,
  firstPauseMs: 2000,
  maxPauseMs: 400_000,
  attemptTimeoutMs: 30_000,
}

export interface QueueState {
  /** Waiting, being delivered, or pausing before the next attempt. */
  queued: number
  sent: number
  failed: number
  dropped: number
}

export interface DeliveryQueue<Job> {
  add(job: Job): void
  /** Closes the queue, attempts all that is left without long pauses, and returns after `timeoutMs` at the latest. */
  drain(timeoutMs: number): Promise<void>
  state(): QueueState
}

/** Takes the place of `maxPauseMs` while draining. */
const drainPauseMs = 250

export function createDeliveryQueue<Job>(options: QueueOptions<Job>): DeliveryQueue<Job> {
  const { deliver, isPermanent, on, policy } = options
  const queued = new Map<Job, Promise<void>>()
  const counts = { sent: 0, failed: 0, dropped: 0 }
  const inSlot = createSlots(policy.concurrency)
  const draining = new AbortController()
  const abandoned = new AbortController()
  let drained: Promise<void> | null = null

  const add = (job: Job): void => {
    const isClosed = draining.signal.aborted
    if (!isClosed && queued.size < policy.capacity) queued.set(job, run(job))
    else {
      counts.dropped++
      on.dropped(job, isClosed ? 'closed' : 'full')
    }
  }

  const run = async (job: Job): Promise<void> => {
    // The caller must not wait for the message to be composed.
    await setImmediate()
    for (let attempt = 1; queued.has(job); attempt++) {
      const failure = await inSlot(() => attemptDelivery(job))
      // Abandoned meanwhile, and counted as lost.
      if (!queued.has(job)) return
      if (failure === null) {
        finish(job, 'sent')
        on.sent(job, attempt)
      } else if (attempt >= policy.attempts || isPermanent(failure.error)) {
        finish(job, 'failed')
        on.failed(job, attempt, failure.error, null)
      } else {
        const pauseMs = backoffMs(policy, attempt, draining.signal.aborted)
        on.failed(job, attempt, failure.error, Math.round(pauseMs))
        await pause(pauseMs, draining.signal)
      }
    }
  }

  const attemptDelivery = async (job: Job): Promise<{ error: unknown } | null> => {
    if (!queued.has(job)) return null
    const signal = AbortSignal.any([abandoned.signal, AbortSignal.timeout(policy.attemptTimeoutMs)])
    return deliver(job, signal).then(
      () => null,
      (error: unknown) => ({ error }),
    )
  }

  const finish = (job: Job, outcome: 'sent' | 'failed'): void => {
    queued.delete(job)
    counts[outcome]++
  }

  const drain = async (timeoutMs: number): Promise<void> => {
    draining.abort()
    await pTimeout(Promise.all(queued.values()), { milliseconds: Math.max(1, timeoutMs), message: false })
    const lost = [...queued.keys()]
    for (const job of lost) finish(job, 'failed')
    abandoned.abort()
    for (const job of lost) on.lost(job)
  }

  return {
    add,
    drain: (timeoutMs) => {
      drained ??= drain(timeoutMs)
      return drained
    },
    state: () => ({ queued: queued.size, ...counts }),
  }
}

/** At most `count` pieces of work at a time, first come, first served. */
function createSlots(count: number) {
  const waiting: (() => void)[] = []
  let free = count
  return async <T>(work: () => Promise<T>): Promise<T> => {
    if (free > 0) free--
    else await new Promise<void>((resolve) => waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else free++
    }
  }
}

function backoffMs(policy: QueuePolicy, failedAttempts: number, isDraining: boolean): number {
  const limitMs = isDraining ? drainPauseMs : policy.maxPauseMs
  const jitter = 0.75 + Math.random() / 2
  return Math.min(policy.firstPauseMs * 4 ** (failedAttempts - 1), limitMs) * jitter
}

/** Cut short when `signal` aborts. Does not keep the process alive: it drains before it exits. */
const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  setTimeout(ms, undefined, signal.aborted ? { ref: false } : { ref: false, signal }).catch(() => undefined)
