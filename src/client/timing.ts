export interface BackoffOptions {
  firstMs: number
  maxMs: number
  /** 0 to 1, like Math.random. */
  random: () => number
}

/**
 * Exponential backoff with jitter: between half and all of `firstMs` doubled per attempt, at most `maxMs`.
 * @param attempt 0 for the first
 */
export function backoffMs(attempt: number, { firstMs, maxMs, random }: BackoffOptions): number {
  const full = Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 30))
  return full / 2 + (full / 2) * random()
}

/** @throws the reason of `signal`, as soon as it aborts */
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

/** A single timer: setting it replaces the one before. */
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
