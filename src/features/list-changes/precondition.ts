/**
 * `If-Match` (RFC 9110, section 13.1.1): `"3"` stands for the version of the list or item that is changed,
 * `"seq-42"` for everything on the list. Tags are compared as texts, so `"03"` is neither. What names neither matches
 * nothing, so the change is refused rather than made unguarded.
 */
export interface Precondition {
  versions: number[]
  seqs: number[]
}

/** Null when nothing is demanded: no header, or `*`, which only wants the thing to exist. */
export function readPrecondition(header: string | null): Precondition | null {
  if (header === null || header.trim() === '*') return null
  const tags = header.split(',').map((tag) => tag.trim())
  const numbers = (pattern: RegExp): number[] =>
    tags.flatMap((tag) => pattern.exec(tag)?.[1] ?? []).map(Number)
  return { versions: numbers(/^"([1-9]\d{0,8})"$/), seqs: numbers(/^"seq-(0|[1-9]\d{0,14})"$/) }
}

/** At which seqs the reader wants no answer: `any` is `*`, whatever the list stands at. */
export type KnownSeqs = readonly number[] | 'any'

/** Weak and strong tags compare alike (RFC 9110, section 13.1.2). */
export function readKnownSeqs(ifNoneMatch: string | null): KnownSeqs {
  if (ifNoneMatch?.trim() === '*') return 'any'
  return (ifNoneMatch ?? '').split(',').flatMap((tag) => {
    const [, seq] = /^(?:W\/)?"seq-(0|[1-9]\d{0,14})"$/.exec(tag.trim()) ?? []
    return seq === undefined ? [] : [Number(seq)]
  })
}
