/** Writes a backup: a gzipped tar of manifest.json, the folders and the files, each read against its checksum. */

import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { type Pack, pack } from 'tar-stream'
import { OperatorError } from '../errors.ts'
import { version } from '../version.ts'
import { listContents } from './contents.ts'
import {
  type BackupFile,
  format,
  formatVersion,
  type Manifest,
  manifestName,
  totalBytes,
} from './manifest.ts'
import type { QuiescedFolder } from './source.ts'

export interface BackupProgress {
  /** The size of all files. Each byte is read twice: for its checksum and for the archive. */
  begin(bytes: number): void
  /** So many more bytes were read. */
  advance(bytes: number): void
  signal: AbortSignal
}

const chunkBytes = 256 * 2 ** 10

/** Makes the manifest, which takes reading every file. */
export async function describeBackup(
  { folder, at, postgres, migrations, wal, ensureKept }: QuiescedFolder,
  progress: BackupProgress,
): Promise<Manifest> {
  const contents = await listContents(folder, wal)
  // What has gone from the list is in no checksum either, and the backup would pass for whole.
  await ensureKept()
  progress.begin(totalBytes(contents.files))
  const files: BackupFile[] = []
  for (const { path } of contents.files) {
    const hash = new Bun.CryptoHasher('sha256')
    let size = 0
    for await (const chunk of chunksOf(join(folder, path), progress)) {
      hash.update(chunk)
      size += chunk.length
    }
    files.push({ path, size, sha256: hash.digest('hex') })
  }
  return {
    format,
    format_version: formatVersion,
    minimart: version,
    postgres,
    migration: migrations.at(-1)?.name ?? null,
    migrations: [...migrations],
    created_at: at,
    signing_key: files.some(({ path }) => !path.includes('/')),
    folders: contents.folders,
    files,
  }
}

/** @param write awaited before more is read, which bounds the memory used */
export async function writeArchive(
  folder: string,
  manifest: Manifest,
  write: (chunk: Uint8Array) => Promise<void>,
  progress: BackupProgress,
): Promise<void> {
  const archive = pack()
  // pipeline() reports its failures; without a listener of its own the stream would end the process.
  archive.on('error', () => undefined)
  let cause: unknown
  const failed = (error: unknown): never => {
    cause ??= error
    throw error
  }
  const flowing = pipeline(archive, createGzip(), async (compressed: AsyncIterable<Uint8Array>) => {
    for await (const chunk of compressed) await write(chunk).catch(failed)
  })
  const filling = fill(archive, folder, manifest, progress).catch((error: unknown) => {
    archive.destroy(error instanceof Error ? error : new Error(String(error)))
    return failed(error)
  })
  try {
    await Promise.all([filling, flowing])
  } catch (error) {
    // No write may be under way once this returns.
    await flowing.catch(() => undefined)
    // Whichever end fails first, the other one only reports that it was cut off.
    throw cause ?? error
  }
}

async function fill(
  archive: Pack,
  folder: string,
  manifest: Manifest,
  progress: BackupProgress,
): Promise<void> {
  const mtime = new Date(manifest.created_at)
  archive.entry({ name: manifestName, mode: 0o600, mtime }, `${JSON.stringify(manifest, null, 1)}\n`)
  for (const path of manifest.folders)
    archive.entry({ name: `${path}/`, type: 'directory', mode: 0o700, mtime })
  for (const { path, size, sha256 } of manifest.files) {
    const hash = new Bun.CryptoHasher('sha256')
    const entry = archive.entry({ name: path, size, mode: 0o600, mtime })
    entry.on('error', () => undefined)
    for await (const chunk of chunksOf(join(folder, path), progress)) {
      hash.update(chunk)
      if (!entry.write(chunk)) await once(entry, 'drain')
    }
    entry.end(null)
    if (hash.digest('hex') !== sha256)
      throw new OperatorError(
        `${path} changed while it was read: another program writes to the folder. Stop it and try again.`,
      )
  }
  archive.finalize()
}

async function* chunksOf(path: string, { advance, signal }: BackupProgress): AsyncGenerator<Buffer> {
  for await (const chunk of createReadStream(path, { highWaterMark: chunkBytes })) {
    signal.throwIfAborted()
    advance(chunk.length)
    yield chunk
  }
}
