import type { Static, TSchema } from '@sinclair/typebox'
import { jsonReader } from '../lib/json.ts'
import type { Logger } from '../log.ts'

/** Says that something stored does not fit and counts as none: once a minute for each kind. */
export type ReportUnfit = (kind: string) => void

const reportEveryMs = 60_000

export function createUnfitReports(log: Logger, now: () => number = () => performance.now()): ReportUnfit {
  const reportedAt = new Map<string, number>()
  return (kind) => {
    const before = reportedAt.get(kind)
    if (before !== undefined && now() - before < reportEveryMs) return
    reportedAt.set(kind, now())
    log.warn('something in the store does not fit and counts as none', { kind })
  }
}

/**
 * Reads JSON from the store: of another release, perhaps, or damaged.
 * @param maxBytes what is longer does not fit; it must leave room for what is added before it is stored again
 */
export function storedJson<T extends TSchema>(
  kind: string,
  schema: T,
  maxBytes: number,
  reportUnfit: ReportUnfit,
): (text: string | null) => Static<T> | null {
  const read = jsonReader(schema)
  return (text) => {
    if (text === null) return null
    const value = Buffer.byteLength(text) > maxBytes ? null : read(text)
    if (value === null) reportUnfit(kind)
    return value
  }
}
