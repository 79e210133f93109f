/** Waiting, and how long: exponential with jitter, so that many clients do not come back at one moment. */

export interface BackoffOptions {
  firstMs: number
  maxMs: number
  /** 0 to 1, like Math.random. */
  random: () => number
}

/** Between half of and the whole of `firstMs` doubled with each attempt (0 is the first), at most `maxMs`. */
export function backoffMs(attempt: number, { firstMs, maxMs, random }: BackoffOptions): number {
  const full = Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 30))
  return full / 2 + (full / 2) * random()
}

/** Ends early when `signal` aborts; throws its reason then. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const abort = (): void => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort)
      resolve()
    }, ms)
    signal?.addEventListener('abort', abort, { once: true })
  })
}

/** One timer at a time; setting it again forgets the last. */
export interface Alarm {
  set(ms: number, ring: () => void): void
  clear(): void
}

export function createAlarm(): Alarm {
  let timer: ReturnType<typeof setTimeout> | undefined
  return {
    set(ms, ring) {
      clearTimeout(timer)
      timer = setTimeout(ring, ms)
    },
    clear: () => clearTimeout(timer),
  }
}
