/**
 * Mails on their way: a bounded queue in memory, a few deliveries at a time, retries with exponential backoff.
 * At least once: when the answer to a delivery is lost, the same message (same Message-ID) is sent again.
 * What is still here when the process dies is lost; codes and links can be asked for again.
 */
export interface QueueOptions<Job> {
  /** One attempt; aborted by the signal after `attemptTimeoutMs` or when the queue gives up. */
  deliver: (job: Job, signal: AbortSignal) => Promise<void>
  /** Whether trying again cannot help. */
  isPermanent: (error: unknown) => boolean
  on: {
    sent: (job: Job, attempt: number) => void
    /** `nextInMs` is null when it was the last attempt. */
    failed: (job: Job, attempt: number, error: unknown, nextInMs: number | null) => void
    /** No room, or the queue is closed; the job was never tried. */
    dropped: (job: Job, reason: 'full' | 'closed') => void
    /** Still unsent when the time for draining was over. */
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

/** Six attempts over about ten minutes: longer than a mail server's restart, no longer than a code lives. */
export const defaultPolicy: QueuePolicy = {
  capacity: 1000,
  concurrency: 5,
  attempts: 6,
  firstPauseMs: 2000,
  maxPauseMs: 400_000,
  attemptTimeoutMs: 30_000,
}

export interface QueueState {
  /** Waiting, being tried, or pausing before the next attempt. */
  queued: number
  sent: number
  failed: number
  dropped: number
}

export interface DeliveryQueue<Job> {
  add(job: Job): void
  /** Takes nothing new, tries all that is left without long pauses, and returns at the latest after the time. */
  drain(timeoutMs: number): Promise<void>
  state(): QueueState
}

interface Entry<Job> {
  job: Job
  attempt: number
  pause: ReturnType<typeof setTimeout> | null
}

/** While draining there is no time for more than a breath between attempts. */
const drainPauseMs = 250

export function createDeliveryQueue<Job>(options: QueueOptions<Job>): DeliveryQueue<Job> {
  const { deliver, isPermanent, on, policy } = options
  const all = new Set<Entry<Job>>()
  const ready: Entry<Job>[] = []
  const counts = { sent: 0, failed: 0, dropped: 0 }
  const giveUp = new AbortController()
  let active = 0
  let drained: (() => void) | null = null
  let draining: Promise<void> | null = null

  const add = (job: Job): void => {
    if (draining !== null || all.size >= policy.capacity) {
      counts.dropped++
      on.dropped(job, draining === null ? 'full' : 'closed')
      return
    }
    const entry: Entry<Job> = { job, attempt: 0, pause: null }
    all.add(entry)
    ready.push(entry)
    // Later, so that the caller never waits for a message to be composed.
    setImmediate(startDeliveries)
  }

  const startDeliveries = (): void => {
    while (active < policy.concurrency && !giveUp.signal.aborted) {
      const entry = ready.shift()
      if (entry === undefined) return
      active++
      void attempt(entry).finally(() => {
        active--
        startDeliveries()
      })
    }
  }

  const attempt = async (entry: Entry<Job>): Promise<void> => {
    entry.attempt++
    const signal = AbortSignal.any([giveUp.signal, AbortSignal.timeout(policy.attemptTimeoutMs)])
    try {
      await deliver(entry.job, signal)
    } catch (error) {
      // After giving up the entry is already counted as lost.
      if (all.has(entry)) retryOrFail(entry, error)
      return
    }
    if (!all.has(entry)) return
    counts.sent++
    finish(entry)
    on.sent(entry.job, entry.attempt)
  }

  const retryOrFail = (entry: Entry<Job>, error: unknown): void => {
    if (entry.attempt >= policy.attempts || isPermanent(error)) {
      counts.failed++
      finish(entry)
      on.failed(entry.job, entry.attempt, error, null)
      return
    }
    const wanted = pauseMs(policy, entry.attempt)
    const pause = draining === null ? wanted : Math.min(wanted, drainPauseMs)
    entry.pause = setTimeout(() => resume(entry), pause)
    // A mail that waits is no reason to keep the process alive: shutting down drains first.
    entry.pause.unref()
    on.failed(entry.job, entry.attempt, error, Math.round(pause))
  }

  const resume = (entry: Entry<Job>): void => {
    if (entry.pause !== null) clearTimeout(entry.pause)
    entry.pause = null
    ready.push(entry)
    startDeliveries()
  }

  const finish = (entry: Entry<Job>): void => {
    all.delete(entry)
    if (all.size === 0) drained?.()
  }

  const drain = async (timeoutMs: number): Promise<void> => {
    const empty = new Promise<void>((resolve) => {
      drained = resolve
    })
    if (all.size === 0) return
    for (const entry of [...all]) if (entry.pause !== null) resume(entry)
    let timer: ReturnType<typeof setTimeout> | undefined
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs)
    })
    await Promise.race([empty, deadline])
    clearTimeout(timer)
    abandonRest()
  }

  const abandonRest = (): void => {
    const rest = [...all]
    all.clear()
    ready.length = 0
    counts.failed += rest.length
    for (const entry of rest) {
      if (entry.pause !== null) clearTimeout(entry.pause)
      on.lost(entry.job)
    }
    giveUp.abort()
  }

  return {
    add,
    drain: (timeoutMs) => {
      draining ??= drain(timeoutMs)
      return draining
    },
    state: () => ({ queued: all.size, ...counts }),
  }
}

const pauseMs = ({ firstPauseMs, maxPauseMs }: QueuePolicy, failedAttempts: number): number =>
  Math.min(firstPauseMs * 4 ** (failedAttempts - 1), maxPauseMs) * (0.75 + Math.random() / 2)
