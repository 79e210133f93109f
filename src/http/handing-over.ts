/** Hands long answers over piece by piece, so that a client that does not read them keeps its place in line. */
import type { Place } from '../access/reading-lines.ts'

/** Up to this length an answer is left to the socket's buffer. In UTF-16 units. */
const shortLength = 256 * 1024
const pieceBytes = 64 * 1024

/**
 * The place is kept until the client has taken the answer or is gone; of a whole answer Bun would not tell either.
 * @param answer makes the response; its body is null where what was found has none
 * @throws AppError busy (503)
 */
export async function answerInPlace<Found extends { body: string | null }>(
  place: Place,
  { signal }: Request,
  find: () => Promise<Found>,
  answer: (body: string | ReadableStream | null, found: Found) => Response,
): Promise<Response> {
  try {
    const found = await place.read(find)
    const { body } = found
    if (body !== null && body.length > shortLength && !signal.aborted)
      return answer(inPieces(body, signal, place.leave), found)
    place.leave()
    return answer(body, found)
  } catch (error) {
    place.leave()
    throw error
  }
}

function inPieces(text: string, signal: AbortSignal, onEnd: () => void): ReadableStream<Uint8Array> {
  // Of a client that left before the first piece was asked for, the stream itself would not hear.
  signal.addEventListener('abort', onEnd, { once: true })
  const bytes = Buffer.from(text)
  let sent = 0
  return new ReadableStream({
    // Not synchronous: Bun would ask for all pieces at once.
    async pull(controller) {
      await null
      controller.enqueue(bytes.subarray(sent, sent + pieceBytes))
      sent += pieceBytes
      if (sent < bytes.length) return
      controller.close()
      onEnd()
    },
    cancel: onEnd,
  })
}
