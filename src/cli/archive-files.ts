/** Archives as they lie in files, compressed or not, or come from standard input. */

import { once } from 'node:events'
import { createReadStream, statSync } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import { explainFileError } from '../data-dir/disk-error.ts'
import { OperatorError } from '../errors.ts'

export interface ArchiveWriter {
  /** Settles when there is room for more. */
  write(text: string): Promise<void>
  /** Settles when all of it is written. */
  end(): Promise<void>
}

export function plainInto(write: (chunk: Uint8Array) => Promise<void>): ArchiveWriter {
  return { write: (text) => write(Buffer.from(text)), end: async () => undefined }
}

export function compressedInto(write: (chunk: Uint8Array) => Promise<void>): ArchiveWriter {
  const gzip = createGzip()
  const written = pipeline(gzip, async (compressed: AsyncIterable<Uint8Array>) => {
    for await (const chunk of compressed) await write(chunk)
  })
  // Whoever writes hears of it.
  written.catch(() => undefined)
  return {
    async write(text) {
      if (!gzip.write(text)) await Promise.race([once(gzip, 'drain'), written])
    },
    async end() {
      gzip.end()
      await written
    },
  }
}

export interface ArchiveInput {
  bytes: AsyncIterable<Uint8Array>
  /** Of the file as it lies there; unknown of a stream. */
  size: number | undefined
  /** Reads no more, though there may be more to come. */
  close(): void
}

/** @param onBytes called with how many bytes were read, as they lie in the file */
export function openInput(source: string, onBytes: (count: number) => void): ArchiveInput {
  const isStream = source === '-'
  const stream = isStream ? process.stdin : createReadStream(source)
  // Where nobody listens, one that comes after the end of reading would end the process.
  stream.on('error', () => undefined)
  return {
    bytes: unpacked(counted(stream, isStream ? 'Standard input' : source, onBytes), source),
    size: isStream ? undefined : sizeOf(source),
    close: () => void stream.destroy(),
  }
}

/** What cannot be looked at cannot be read either, and that is where it is told. */
function sizeOf(path: string): number | undefined {
  try {
    return statSync(path).size
  } catch {
    return undefined
  }
}

async function* counted(
  stream: AsyncIterable<Uint8Array>,
  name: string,
  onBytes: (count: number) => void,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of stream) {
      onBytes(chunk.length)
      yield chunk
    }
  } catch (error) {
    explainFileError(error, name)
  }
}

/** Told by its first bytes, so that a stream may be compressed too. */
async function* unpacked(bytes: AsyncGenerator<Uint8Array>, source: string): AsyncGenerator<Uint8Array> {
  const first = await bytes.next()
  if (first.done === true) return
  const all = joined(first.value, bytes)
  if (first.value[0] !== 0x1f || first.value[1] !== 0x8b) return yield* all
  const gunzip = createGunzip()
  const fed = pipeline(all, gunzip)
  fed.catch(() => undefined)
  try {
    for await (const chunk of gunzip) yield chunk
    await fed
  } catch (error) {
    if (error instanceof OperatorError) throw error
    throw new OperatorError(
      `${source} cannot be decompressed: it is cut off or damaged. Nothing was imported.`,
    )
  }
}

async function* joined(first: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first
  yield* rest
}
