/** Reads a backup from its beginning to its end, once, and holds every byte against the manifest. */

import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { type Extract, extract } from 'tar-stream'
import { OperatorError } from '../errors.ts'
import {
  type BackupFile,
  type Manifest,
  manifestName,
  maxManifestBytes,
  notABackup,
  readManifest,
} from './manifest.ts'

type Source = Extract extends AsyncIterable<infer Entry> ? Entry : never

export interface Taker {
  begin(manifest: Manifest): void | Promise<void>
  /** A file is over, and its bytes were the right ones, when the next begins or readBackup returns. */
  file(file: BackupFile): Promise<FileTaker>
  advance(bytes: number): void
}

export interface FileTaker {
  write(chunk: Uint8Array): Promise<void>
  end(): Promise<void>
}

/** @throws OperatorError at the first thing that is not as the manifest says, or when the end is missing */
export async function readBackup(path: string, taker: Taker): Promise<Manifest> {
  const entries = extract()
  entries.on('error', () => undefined)
  const flowing = pipeline(createReadStream(path), createGunzip(), entries)
  // Its failure reaches the loop below as well.
  flowing.catch(() => undefined)
  try {
    const manifest = await takeEntries(entries[Symbol.asyncIterator](), taker)
    await flowing
    return manifest
  } catch (error) {
    throw explainDamage(error)
  } finally {
    entries.destroy()
  }
}

async function takeEntries(entries: AsyncIterator<Source>, taker: Taker): Promise<Manifest> {
  const next = async (): Promise<Source | null> => {
    const { value, done } = await entries.next()
    return done ? null : value
  }
  const manifest = await takeManifest(await next())
  await taker.begin(manifest)
  for (const path of manifest.folders) {
    const entry = expectEntry(await next(), { path: `${path}/`, size: 0 }, 'directory')
    entry.resume()
  }
  for (const file of manifest.files) await takeFile(expectEntry(await next(), file, 'file'), file, taker)
  if ((await next()) !== null) throw new OperatorError('The backup holds more than its manifest says.')
  return manifest
}

async function takeManifest(entry: Source | null): Promise<Manifest> {
  if (entry?.header.name !== manifestName || entry.header.size > maxManifestBytes) throw notABackup()
  const chunks: Uint8Array[] = []
  for await (const chunk of bytesOf(entry)) chunks.push(chunk)
  return readManifest(Buffer.concat(chunks).toString('utf8'))
}

function expectEntry(
  entry: Source | null,
  { path, size }: { path: string; size: number },
  type: string,
): Source {
  if (entry === null) throw new OperatorError(`The backup is cut off: ${path} is missing.`)
  const { header } = entry
  if (header.name !== path || header.type !== type || header.size !== size)
    throw new OperatorError(`The backup is damaged: where its manifest has ${path}, something else stands.`)
  return entry
}

async function takeFile(entry: Source, file: BackupFile, taker: Taker): Promise<void> {
  const hash = new Bun.CryptoHasher('sha256')
  const target = await taker.file(file)
  try {
    for await (const chunk of bytesOf(entry)) {
      hash.update(chunk)
      await target.write(chunk)
      taker.advance(chunk.length)
    }
  } finally {
    await target.end()
  }
  if (hash.digest('hex') !== file.sha256)
    throw new OperatorError(`The backup is damaged: ${file.path} is not what it was when it was written.`)
}

async function* bytesOf(entry: Source): AsyncGenerator<Uint8Array> {
  for await (const chunk of entry) if (chunk instanceof Uint8Array) yield chunk
}

/** zlib tells by code, the tar reader by nothing but its words; its errors have no code at all. */
function explainDamage(error: unknown): unknown {
  if (error instanceof OperatorError || !(error instanceof Error)) return error
  const code = 'code' in error ? String(error.code) : ''
  if (code === 'Z_BUF_ERROR')
    return new OperatorError('The backup is cut off: its end is missing.', { cause: error })
  if (code.startsWith('Z_'))
    return new OperatorError('This is not a MiniMart backup, or it is damaged (it cannot be decompressed).', {
      cause: error,
    })
  return code === '' && error.name === 'Error'
    ? new OperatorError('This is not a MiniMart backup, or it is damaged (it is no whole tar archive).', {
        cause: error,
      })
    : error
}
