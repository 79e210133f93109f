/** What of a data folder is in a backup. */
import type { Dirent } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { secretFile } from '../data-dir/data-dir.ts'
import { databaseFolder } from '../data-dir/layout.ts'
import type { Checkpoint } from '../db/embedded/quiesce.ts'

export interface ContentFile {
  /** Below the data folder, with slashes. */
  path: string
  size: number
  /** Differs once the file was changed, if it was not changed within `freshMs` of the look at it. */
  stamp: string
  modifiedMs: number
}

export interface Contents {
  /** Each after the one it is in. */
  folders: string[]
  files: ContentFile[]
}

/**
 * @param wal which segments of the write-ahead log are needed; null for none of them
 */
export async function listContents(dataDir: string, wal: Checkpoint['wal'] | null): Promise<Contents> {
  const entries = await readdir(join(dataDir, databaseFolder), { recursive: true, withFileTypes: true })
  const pathOf = ({ parentPath, name }: Dirent): string =>
    join(parentPath, name).slice(join(dataDir, '/').length).replaceAll('\\', '/')
  const folders = entries.filter((entry) => entry.isDirectory()).map(pathOf)
  const files = entries
    .filter((entry) => entry.isFile() && isNeeded(entry.name, wal))
    .map(pathOf)
    .toSorted()
  const found = await Promise.all([secretFile, ...files].map((path) => look(dataDir, path)))
  return {
    folders: [databaseFolder, ...folders.toSorted()],
    files: found.filter((file) => file !== null),
  }
}

const segment = /^[0-9A-F]{24}$/
/** Of the process that has the folder open, and what a query spilled. */
const ofTheMoment = /^(postmaster\.(pid|opts)|pgsql_tmp.*)$/

function isNeeded(name: string, wal: Checkpoint['wal'] | null): boolean {
  if (segment.test(name)) return wal !== null && name >= wal.first && name <= wal.last
  return !ofTheMoment.test(name)
}

/** Null where there is none. */
async function look(dataDir: string, path: string): Promise<ContentFile | null> {
  try {
    const { size, mtimeNs, ctimeNs, ino } = await lstat(join(dataDir, path), { bigint: true })
    const stamp = [size, mtimeNs, ctimeNs, ino].join(':')
    return { path, size: Number(size), stamp, modifiedMs: Number(mtimeNs / 1_000_000n) }
  } catch (error) {
    if (isGone(error)) return null
    throw error
  }
}

export const isGone = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT'
