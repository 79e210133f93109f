/** Reads a backup once, from beginning to end, and checks every byte against the manifest. */

import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { type Extract, extract } from 'tar-stream'
import { errorCode } from '../db/errors.ts'
import { OperatorError } from '../errors.ts'
import {
  type BackupFile,
  type Manifest,
  manifestName,
  maxManifestBytes,
  notABackup,
  readManifest,
} from './manifest.ts'

type Entry = Extract extends AsyncIterable<infer Entry> ? Entry : never

export interface BackupVisitor {
  begin(manifest: Manifest): void | Promise<void>
  /** The file's bytes are verified once the next file begins or readBackup returns. */
  file(file: BackupFile): Promise<FileSink>
  /** So many more bytes were read. */
  advance(bytes: number): void
}

export interface FileSink {
  write(chunk: Uint8Array): Promise<void>
  end(): Promise<void>
}

/** @throws OperatorError where the backup first differs from its manifest, or is cut off */
export async function readBackup(path: string, visitor: BackupVisitor): Promise<Manifest> {
  const entries = extract()
  entries.on('error', () => undefined)
  const flowing = pipeline(createReadStream(path), createGunzip(), entries)
  // A failure of the pipeline reaches the loop over the entries too.
  flowing.catch(() => undefined)
  try {
    const manifest = await readEntries(entries[Symbol.asyncIterator](), visitor)
    await flowing
    return manifest
  } catch (error) {
    throw explainDamage(error)
  } finally {
    entries.destroy()
  }
}

async function readEntries(entries: AsyncIterator<Entry>, visitor: BackupVisitor): Promise<Manifest> {
  const next = async (): Promise<Entry | null> => {
    const { value, done } = await entries.next()
    return done ? null : value
  }
  const manifest = await readManifestEntry(await next())
  await visitor.begin(manifest)
  for (const path of manifest.folders) {
    const entry = expectEntry(await next(), { path: `${path}/`, size: 0 }, 'directory')
    entry.resume()
  }
  for (const file of manifest.files) await readFile(expectEntry(await next(), file, 'file'), file, visitor)
  if ((await next()) !== null) throw new OperatorError('The backup holds more than its manifest lists.')
  return manifest
}

async function readManifestEntry(entry: Entry | null): Promise<Manifest> {
  if (entry?.header.name !== manifestName || entry.header.size > maxManifestBytes) throw notABackup()
  const chunks: Uint8Array[] = []
  for await (const chunk of bytesOf(entry)) chunks.push(chunk)
  return readManifest(Buffer.concat(chunks).toString('utf8'))
}

function expectEntry(
  entry: Entry | null,
  { path, size }: { path: string; size: number },
  type: string,
): Entry {
  if (entry === null) throw new OperatorError(`The backup is cut off: ${path} is missing.`)
  const { header } = entry
  if (header.name !== path || header.type !== type || header.size !== size)
    throw new OperatorError(
      `The backup is damaged: its manifest lists ${path} where it holds something else.`,
    )
  return entry
}

async function readFile(entry: Entry, file: BackupFile, visitor: BackupVisitor): Promise<void> {
  const hash = new Bun.CryptoHasher('sha256')
  const sink = await visitor.file(file)
  try {
    for await (const chunk of bytesOf(entry)) {
      hash.update(chunk)
      await sink.write(chunk)
      visitor.advance(chunk.length)
    }
  } finally {
    await sink.end()
  }
  if (hash.digest('hex') !== file.sha256)
    throw new OperatorError(`The backup is damaged: the checksum of ${file.path} does not match.`)
}

async function* bytesOf(entry: Entry): AsyncGenerator<Uint8Array> {
  for await (const chunk of entry) if (chunk instanceof Uint8Array) yield chunk
}

/** zlib's errors have codes; the tar reader's are plain Errors without one. */
function explainDamage(error: unknown): unknown {
  if (error instanceof OperatorError || !(error instanceof Error)) return error
  const code = errorCode(error)
  if (code === 'Z_BUF_ERROR')
    return new OperatorError('The backup is cut off: its end is missing.', { cause: error })
  const isTarError = code === '' && error.name === 'Error'
  if (!code.startsWith('Z_') && !isTarError) return error
  const reason = isTarError ? 'it is not a complete tar archive' : 'it cannot be decompressed'
  return new OperatorError(`This is not a MiniMart backup, or it is damaged (${reason}).`, { cause: error })
}
