/** The files of a data folder that belong into a backup. */
import type { Dirent } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { secretFile } from '../data-dir/data-dir.ts'
import { databaseFolder } from '../data-dir/layout.ts'
import type { Checkpoint } from '../db/embedded/quiesce.ts'
import { errorCode } from '../db/errors.ts'

export interface ContentFile {
  /** Relative to the data folder, with slashes. */
  path: string
  size: number
  /** Changes with the file, unless that changed again within the resolution of its times (see copy.ts). */
  stamp: string
  modifiedMs: number
}

export interface Contents {
  /** Parents before their children. */
  folders: string[]
  files: ContentFile[]
}

/** @param wal which segments of the write-ahead log to include; null for none */
export async function listContents(dataDir: string, wal: Checkpoint['wal'] | null): Promise<Contents> {
  const entries = await readdir(join(dataDir, databaseFolder), { recursive: true, withFileTypes: true })
  const pathOf = ({ parentPath, name }: Dirent): string =>
    join(parentPath, name).slice(join(dataDir, '/').length).replaceAll('\\', '/')
  const folders = entries.filter((entry) => entry.isDirectory()).map(pathOf)
  const files = entries
    .filter((entry) => entry.isFile() && isNeeded(entry.name, wal))
    .map(pathOf)
    .toSorted()
  const found = await Promise.all([secretFile, ...files].map((path) => inspect(dataDir, path)))
  return {
    folders: [databaseFolder, ...folders.toSorted()],
    files: found.filter((file) => file !== null),
  }
}

const segment = /^[0-9A-F]{24}$/
/** Of the process that has the folder open, and temporary files of its queries. */
const transient = /^(postmaster\.(pid|opts)|pgsql_tmp.*)$/

function isNeeded(name: string, wal: Checkpoint['wal'] | null): boolean {
  if (segment.test(name)) return wal !== null && name >= wal.first && name <= wal.last
  return !transient.test(name)
}

/** Null where there is no such file. */
async function inspect(dataDir: string, path: string): Promise<ContentFile | null> {
  try {
    const { size, mtimeNs, ctimeNs, ino } = await lstat(join(dataDir, path), { bigint: true })
    const stamp = [size, mtimeNs, ctimeNs, ino].join(':')
    return { path, size: Number(size), stamp, modifiedMs: Number(mtimeNs / 1_000_000n) }
  } catch (error) {
    if (isGone(error)) return null
    throw error
  }
}

export const isGone = (error: unknown): boolean => errorCode(error) === 'ENOENT'
