/**
 * `If-Match` and `If-None-Match` (RFC 9110, sections 13.1.1 and 13.1.2). `"3"` means the version of a list or item,
 * `"seq-42.9f3ac01b"` everything on a list as of that position, `"seq-42"` the same without telling apart histories that
 * share the number. A tag names a state, not bytes: what a proxy that compresses adds to it (`W/`, `-gzip`) does not
 * count.
 */
import { invalidField } from '../../errors.ts'

/** The tags without their quotes. One that is neither form matches nothing: the change is refused rather than made unguarded. */
export type Precondition = readonly string[]

/** Null for no header, or for `*`, which only requires that the thing exists. @throws AppError invalid */
export function readPrecondition(header: string | null): Precondition | null {
  return header === null || header.trim() === '*' ? null : readTags('If-Match', header)
}

/** The positions that the reader has already, as tags; `any` for `*`. */
export type KnownPositions = readonly string[] | 'any'

/** @throws AppError invalid */
export function readKnownPositions(header: string | null): KnownPositions {
  if (header?.trim() === '*') return 'any'
  return header === null ? [] : readTags('If-None-Match', header)
}

/** RFC 9110, section 8.8.3. */
const tagList = /^\s*(?:W\/)?"[^"]*"\s*(?:,\s*(?:W\/)?"[^"]*"\s*)*$/
/** What proxies add for the coding in which they pass the answer on. */
const coding = /(?:-gzip|-br|-zstd|;gzip)$/

function readTags(header: 'If-Match' | 'If-None-Match', text: string): string[] {
  if (!tagList.test(text)) throw invalidField(header, 'must be entity tags in double quotes, or *')
  return [...text.matchAll(/"([^"]*)"/g)].map(([, tag = '']) => tag.replace(coding, ''))
}
