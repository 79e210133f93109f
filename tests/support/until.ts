const defaultTimeoutMs = 30_000
const longestPauseMs = 10

/**
 * Asks again until there is an answer that is neither false nor undefined nor null, and gives it. What must come within
 * a time that is promised gets that time; the default is for what comes when a busy machine gets round to it.
 * @throws Error after the deadline, with what was waited for
 */
export async function until<T>(
  look: () => T | Promise<T>,
  what: string | (() => string) = 'it',
  timeoutMs = defaultTimeoutMs,
): Promise<Exclude<Awaited<T>, false | null | undefined>> {
  const deadline = performance.now() + timeoutMs
  for (let pauseMs = 1; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
    const found = await look()
    if (found !== false && found !== null && found !== undefined)
      return found as Exclude<Awaited<T>, false | null | undefined>
    if (performance.now() > deadline)
      throw new Error(`${typeof what === 'string' ? what : what()} did not come to be within ${timeoutMs} ms`)
    await Bun.sleep(pauseMs)
  }
}
