/** File descriptors of this process, which sockets, connections and files share. On Linux; elsewhere there is no /proc. */
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs'

/**
 * How many this process may have; null where that is not known. Bun raises the soft limit to the hard one when it
 * starts.
 */
export function descriptorLimit(): number | null {
  try {
    const [, limit] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return limit === undefined ? null : Number(limit)
  } catch {
    return null
  }
}

/** @throws Error where none is left: listing them takes one */
export const openDescriptors = (): number => readdirSync('/proc/self/fd').length

/** For 1,000 sockets, the service's own connections and files, and the reserve. */
const descriptorsNeeded = 1200

/** What to tell the operator where there are too few for 1,000 sockets; null where there are enough. */
export function descriptorShortage(limit = descriptorLimit()): string | null {
  if (limit === null || limit >= descriptorsNeeded) return null
  return `this process may have ${limit} file descriptors; for 1,000 sockets it needs ${descriptorsNeeded} (ulimit -n, LimitNOFILE=)`
}

/** Kept for what the service cannot do without: connections to the database and Redis, requests, files. */
const reserve = 64
/** `wasShort` looks again after this time, and after so many questions: a burst takes all descriptors within it. */
const lookEvery = { ms: 100, questions: reserve / 4 }

export interface DescriptorWatch {
  /** Whether only the reserve is left. */
  isShort(): boolean
  /** The same as of a moment ago, for those who ask often. */
  wasShort(): boolean
}

export function createDescriptorWatch(limit = descriptorLimit()): DescriptorWatch {
  if (limit === null) return { isShort: () => false, wasShort: () => false }
  let last = false
  let lookedAt = Number.NEGATIVE_INFINITY
  let questions = 0
  const isShort = (): boolean => {
    lookedAt = performance.now()
    questions = 0
    last = lowestFree(limit) >= limit - reserve
    return last
  }
  const isRecent = (): boolean =>
    ++questions < lookEvery.questions && performance.now() - lookedAt < lookEvery.ms
  return { isShort, wasShort: () => (isRecent() ? last : isShort()) }
}

/** A new one gets the lowest number that is free. Counting them would take milliseconds where there are thousands. */
function lowestFree(limit: number): number {
  try {
    const descriptor = openSync('/dev/null', 'r')
    closeSync(descriptor)
    return descriptor
  } catch {
    return limit
  }
}
