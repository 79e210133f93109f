import { closeSync, fsyncSync, openSync } from 'node:fs'
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'

/** So many at once share a commit of the file system's journal: a thousand files in 0.15 s in place of 2 s. */
const together = 8

/** Windows opens no folders, writes to a file only one that is open for it, and keeps its own books of names. */
const isWindows = process.platform === 'win32'
const mode = isWindows ? 'r+' : 'r'

/** Makes everything in the folder, though not its own name in its parent, reach the disk. */
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
  await Promise.all(Array.from({ length: together }, syncSome))
  syncFolder(folder)
}

/** Makes the names in a folder reach the disk. */
export function syncFolder(folder: string): void {
  if (isWindows) return
  const handle = openSync(folder, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}
