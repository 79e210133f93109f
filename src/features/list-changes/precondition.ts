/**
 * `If-Match` (RFC 9110, section 13.1.1): `"3"` means the version of the list or item, `"seq-42"` everything on the list.
 * Tags are compared as text, so `"03"` is neither. A tag that is neither matches nothing: the change is refused rather
 * than made unguarded.
 */
export interface Precondition {
  versions: number[]
  seqs: number[]
}

/** Null for no header, or for `*`, which only requires that the thing exists. */
export function readPrecondition(header: string | null): Precondition | null {
  if (header === null || header.trim() === '*') return null
  const tags = header.split(',').map((tag) => tag.trim())
  const numbers = (pattern: RegExp): number[] =>
    tags.flatMap((tag) => pattern.exec(tag)?.[1] ?? []).map(Number)
  return { versions: numbers(/^"([1-9]\d{0,8})"$/), seqs: numbers(/^"seq-(0|[1-9]\d{0,14})"$/) }
}

/** The seqs that the reader has already; `any` for `*`. */
export type KnownSeqs = readonly number[] | 'any'

/** Weak comparison (RFC 9110, section 13.1.2). */
export function readKnownSeqs(ifNoneMatch: string | null): KnownSeqs {
  if (ifNoneMatch?.trim() === '*') return 'any'
  return (ifNoneMatch ?? '').split(',').flatMap((tag) => {
    const [, seq] = /^(?:W\/)?"seq-(0|[1-9]\d{0,14})"$/.exec(tag.trim()) ?? []
    return seq === undefined ? [] : [Number(seq)]
  })
}
