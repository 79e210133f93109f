/** Splits the bytes of an archive into lines, chunk by chunk. */
import { OperatorError } from '../errors.ts'

export interface Line {
  /** From 1. */
  number: number
  /** Without its newline. */
  text: string
}

/** In UTF-16 code units. No row comes near it. */
const maxLineLength = 1_000_000

/** @throws OperatorError for bytes that are not UTF-8, a line that is too long, and a last line without a newline */
export async function* linesOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let number = 0
  let rest = ''
  for await (const chunk of bytes) {
    rest += decode(decoder, chunk, number + 1)
    let from = 0
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', from)) {
      number += 1
      yield { number, text: rest.slice(from, end) }
      from = end + 1
    }
    rest = rest.slice(from)
    if (rest.length > maxLineLength) throw refusedLine(number + 1, 'is too long for a row')
  }
  if (rest !== '') throw new OperatorError(`The archive is cut off: line ${number + 1} breaks off.`)
  // The decoder may still hold an incomplete character.
  decode(decoder, null, number + 1)
}

/** @param chunk null at the end */
function decode(decoder: TextDecoder, chunk: Uint8Array | null, number: number): string {
  try {
    return chunk === null ? decoder.decode() : decoder.decode(chunk, { stream: true })
  } catch {
    throw new OperatorError(
      `This is not an archive, or a damaged one: from line ${number} on it is not UTF-8 text.`,
    )
  }
}

export const refusedLine = (number: number, why: string): OperatorError =>
  new OperatorError(`Line ${number} of the archive ${why}. Nothing was imported.`)
