/** A token bucket: `burst` at once, then `perSecond`. Answers whether one more is allowed, and counts it if so. */
export function createAllowance(burst: number, perSecond: number) {
  let left = burst
  let at = performance.now()
  return {
    take(): boolean {
      const now = performance.now()
      left = Math.min(burst, left + ((now - at) / 1000) * perSecond)
      at = now
      if (left < 1) return false
      left--
      return true
    },
  }
}
