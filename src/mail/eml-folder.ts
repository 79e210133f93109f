import { access, constants, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ownerOnlyFolder } from '../data-dir/data-dir.ts'

/**
 * A folder in place of a mail server: one `.eml` file for each mail, readable by the owner only (they hold codes and
 * links), named so that names sort by time. The newest 2,000 are kept.
 */
export interface EmlFolder {
  /**
   * Returns the path of the file, which is put there atomically. A mail that is written again, after a crash, replaces
   * its file.
   */
  write(mail: EmlFile): Promise<string>
  /** @throws Error when the folder cannot be created or written */
  check(): Promise<void>
}

export interface EmlFile {
  at: Date
  /** A UUIDv7: orders mails of the same millisecond. */
  id: string
  kind: string
  address: string
  raw: Uint8Array
}

const maxFiles = 2000
const pruneEvery = 100

export function createEmlFolder(folder: string): EmlFolder {
  let written = 0
  const check = async (): Promise<void> => {
    // File names hold recipients.
    ownerOnlyFolder(folder)
    await access(folder, constants.W_OK | constants.X_OK)
  }
  return {
    check,
    write: async ({ at, id, kind, address, raw }) => {
      await check()
      if (written++ % pruneEvery === 0) await prune(folder)
      const name = `${stamp(at)}-${id}-${kind}-${fileSafe(address)}`
      const draft = join(folder, `.${name}.part`)
      const file = join(folder, `${name}.eml`)
      await writeFile(draft, raw, { mode: 0o600 })
      await rename(draft, file)
      return file
    },
  }
}

/** `20261122T070000.000Z`: without colons, which some file systems reject. */
const stamp = (at: Date): string => at.toISOString().replace(/[-:]/g, '')

const fileSafe = (address: string): string =>
  address
    .toLowerCase()
    .replace(/[^a-z0-9@._+-]/g, '_')
    .slice(0, 100)

async function prune(folder: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.eml')).sort()
  const surplus = names.slice(0, Math.max(0, names.length - maxFiles))
  await Promise.all(surplus.map((name) => rm(join(folder, name), { force: true })))
}
