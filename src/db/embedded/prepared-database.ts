/**
 * A new database, as initdb creates it, in one file: a line of JSON that lists the folders, and the files with their
 * sizes, then the files' bytes in that order. No times, owners or modes, so that the same folder gives the same bytes.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'

interface Contents {
  /** Parents first. */
  folders: string[]
  files: { path: string; bytes: number }[]
}

/** @param folder of a closed database */
export function packDatabase(folder: string): Uint8Array<ArrayBuffer> {
  const entries = readdirSync(folder, { withFileTypes: true, recursive: true })
    .map((entry) => ({ entry, path: relative(folder, join(entry.parentPath, entry.name)) }))
    .map(({ entry, path }) => ({ isFolder: entry.isDirectory(), path: path.replaceAll(sep, '/') }))
    .sort((one, other) => (one.path < other.path ? -1 : 1))
  const files = entries.filter(({ isFolder }) => !isFolder).map(({ path }) => path)
  const bytes = files.map((path) => readFileSync(join(folder, path)))
  const contents: Contents = {
    folders: entries.filter(({ isFolder }) => isFolder).map(({ path }) => path),
    files: files.map((path, index) => ({ path, bytes: bytes[index]?.length ?? 0 })),
  }
  return new Uint8Array(Buffer.concat([Buffer.from(`${JSON.stringify(contents)}\n`), ...bytes]))
}

/** Fills an empty folder with files that only their owner may read. Nothing is fsynced. */
export function unpackDatabase(packed: Uint8Array, folder: string): void {
  const end = packed.indexOf('\n'.charCodeAt(0))
  const { folders, files }: Contents = JSON.parse(new TextDecoder().decode(packed.subarray(0, end)))
  for (const path of folders) mkdirSync(join(folder, path), { mode: 0o700 })
  let offset = end + 1
  for (const { path, bytes } of files) {
    writeFileSync(join(folder, path), packed.subarray(offset, offset + bytes), { mode: 0o600, flag: 'wx' })
    offset += bytes
  }
}
