const defaultTimeoutMs = 30_000
const longestPauseMs = 10

/**
 * Polls until the answer is neither false nor undefined nor null, and returns it. Something with a promised deadline
 * gets that as its timeout; the default allows for a busy machine.
 * @throws Error after the timeout, naming what was waited for
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
      throw new Error(`${typeof what === 'string' ? what : what()} did not happen within ${timeoutMs} ms`)
    await Bun.sleep(pauseMs)
  }
}
