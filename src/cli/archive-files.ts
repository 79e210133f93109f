/** Archives in files or on standard streams, gzipped or not. */

import { createReadStream, statSync } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { explainFileError } from '../data-dir/disk-error.ts'
import { OperatorError } from '../errors.ts'

export interface ArchiveWriter {
  /** Resolves when there is room for more. */
  write(text: string): Promise<void>
  /** Resolves when everything is written. */
  end(): Promise<void>
}

export const plainWriter = (write: (chunk: Uint8Array) => Promise<void>): ArchiveWriter => ({
  write: (text) => write(Buffer.from(text)),
  end: async () => undefined,
})

export function gzipWriter(write: (chunk: Uint8Array) => Promise<void>): ArchiveWriter {
  const gzip = new CompressionStream('gzip')
  const input = gzip.writable.getWriter()
  const written = gzip.readable.pipeTo(new WritableStream({ write }))
  written.catch(() => undefined)
  return {
    // When `write` fails, `written` has its error and Bun's rejections of the input do not.
    write: (text) => input.write(Buffer.from(text)).catch(() => written),
    async end() {
      await input.close().catch(() => undefined)
      await written
    },
  }
}

export interface ArchiveInput {
  bytes: AsyncIterable<Uint8Array>
  /** Of the file, compressed or not; undefined for standard input. */
  size: number | undefined
  /** Stops reading, though more may come. */
  close(): void
}

/**
 * @param source a path, or `-` for standard input
 * @param onBytes called with the number of bytes read, before decompression
 */
export function openInput(source: string, onBytes: (count: number) => void): ArchiveInput {
  const isStream = source === '-'
  const stream = isStream ? process.stdin : createReadStream(source)
  // Without a listener, an error after the end of reading would end the process.
  stream.on('error', () => undefined)
  return {
    bytes: decompressed(counted(stream, isStream ? 'Standard input' : source, onBytes), source),
    size: isStream ? undefined : sizeOf(source),
    close: () => void stream.destroy(),
  }
}

/** Undefined where it cannot be read: reading the file reports why. */
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

/** Recognises gzip by its magic number, so that standard input may be compressed too. */
async function* decompressed(bytes: AsyncGenerator<Uint8Array>, source: string): AsyncGenerator<Uint8Array> {
  const first = await bytes.next()
  if (first.done === true) return
  const all = prepend(first.value, bytes)
  if (first.value[0] !== 0x1f || first.value[1] !== 0x8b) return yield* all
  const gunzip = createGunzip()
  const flowing = pipeline(all, gunzip)
  flowing.catch(() => undefined)
  try {
    for await (const chunk of gunzip) yield chunk
    await flowing
  } catch (error) {
    if (error instanceof OperatorError) throw error
    throw new OperatorError(
      `${source} cannot be decompressed: it is cut off or damaged. Nothing was imported.`,
    )
  }
}

async function* prepend(first: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first
  yield* rest
}
