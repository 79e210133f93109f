/** The lines of an archive from its bytes, a piece at a time, however they are cut. */
import { OperatorError } from '../errors.ts'

export interface Line {
  /** From 1. */
  number: number
  /** Without its newline. */
  text: string
}

/** In UTF-16 units. No row comes near it; what has no newlines is no archive. */
const maxLineLength = 1_000_000

/** @throws OperatorError where bytes are no UTF-8, a line is too long, or the last one breaks off */
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
  if (rest !== '')
    throw new OperatorError(`The archive is cut off: line ${number + 1} breaks off in its middle.`)
  // A character that has begun and does not end is in the decoder still.
  decode(decoder, null, number + 1)
}

/** @param chunk null: that was all */
function decode(decoder: TextDecoder, chunk: Uint8Array | null, number: number): string {
  try {
    return chunk === null ? decoder.decode() : decoder.decode(chunk, { stream: true })
  } catch {
    throw new OperatorError(
      `This is no archive, or a damaged one: from line ${number} on it is no UTF-8 text.`,
    )
  }
}

/** What a line of an archive is refused for, by its number. */
export const refusedLine = (number: number, why: string): OperatorError =>
  new OperatorError(`Line ${number} of the archive ${why}. Nothing was imported.`)
