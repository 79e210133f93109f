import { closeSync, fsyncSync, openSync } from 'node:fs'
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'

/** Concurrent fsyncs share commits of the file system's journal: a thousand files take 0.15 s instead of 2 s. */
const concurrency = 8

/** Windows cannot open folders, and flushes only files that are open for writing. */
const isWindows = process.platform === 'win32'
const mode = isWindows ? 'r+' : 'r'

/** fsyncs everything in the folder, but not the folder's own entry in its parent. */
export async function syncTree(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true })
  const below = entries.filter((entry) => entry.isFile() || (entry.isDirectory() && !isWindows))
  const remaining = below.map(({ parentPath, name }) => join(parentPath, name)).values()
  const syncSome = async (): Promise<void> => {
    for (const path of remaining) {
      const handle = await open(path, mode)
      await handle.sync().finally(() => handle.close())
    }
  }
  await Promise.all(Array.from({ length: concurrency }, syncSome))
  syncFolder(folder)
}

/** fsyncs the folder's entries, so that files created or renamed in it survive a power cut. */
export function syncFolder(folder: string): void {
  if (isWindows) return
  const handle = openSync(folder, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}
