/**
 * A place in a list's history, `<seq>.<mark>` on the wire. A number alone may be given out twice, where the database is
 * restored from an older backup or fails over to a replica that lagged; the mark, made from the event's action id,
 * tells the two apart.
 */
export interface HistoryPosition {
  /** Of the event; 0 before the first. */
  seq: number
  /** Eight hex digits; empty before the first event. */
  mark: string
}

/** Where a reader stands: at a position, or at a number alone, whose `mark` is null. */
export type Since = Omit<HistoryPosition, 'mark'> & { mark: string | null }

export const historyStart: HistoryPosition = { seq: 0, mark: '' }

export const historyPositionPattern = /^(?:0|[1-9]\d{0,15}\.[0-9a-f]{8})$/

export const formatHistoryPosition = ({ seq, mark }: HistoryPosition): string =>
  seq === 0 ? '0' : `${seq}.${mark}`

export const samePosition = (one: HistoryPosition, other: HistoryPosition): boolean =>
  one.seq === other.seq && one.mark === other.mark

/** Reads a position or a number; null for anything else. */
export function readSince(text: string): Since | null {
  const isExact = historyPositionPattern.test(text)
  if (!isExact && !/^\d{1,16}$/.test(text)) return null
  const [digits, mark] = text.split('.')
  const seq = Number(digits)
  if (!Number.isSafeInteger(seq)) return null
  return seq === 0 ? historyStart : { seq, mark: mark ?? null }
}

/**
 * Whether a history holds the place of a reader: `unknown` where the event that would tell is no longer kept. A number
 * alone is always taken for held.
 * @param end the number of the last event @param mark of the event at `since` there; null where there is none
 */
export function heldIn(end: number, mark: string | null, since: Since): 'held' | 'changed' | 'unknown' {
  if (since.mark === null) return 'held'
  if (since.seq > end) return 'changed'
  return mark === null ? 'unknown' : mark === since.mark ? 'held' : 'changed'
}
