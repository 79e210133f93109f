import { access, constants, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ownerOnlyFolder } from '../data-dir/data-dir.ts'

/**
 * The folder that stands in for a mail server: one `.eml` file a mail, readable by the owner alone (they hold
 * codes and links), named so that sorting by name is sorting by time. The newest 2,000 are kept.
 */
export interface Outbox {
  readonly folder: string
  /** Answers the path of the new file, which appears under its name only when it is whole. */
  write(mail: OutboxMail): Promise<string>
  /** Throws when the folder cannot be made or written. */
  check(): Promise<void>
}

export interface OutboxMail {
  at: Date
  /** Keeps mails of one millisecond in order. */
  number: number
  kind: string
  address: string
  raw: Uint8Array
}

const kept = 2000
const tidyEvery = 100

export function createOutbox(folder: string): Outbox {
  let written = 0
  const check = async (): Promise<void> => {
    // The names of its files tell who is written to.
    ownerOnlyFolder(folder)
    await access(folder, constants.W_OK | constants.X_OK)
  }
  return {
    folder,
    check,
    write: async ({ at, number, kind, address, raw }) => {
      await check()
      if (written++ % tidyEvery === 0) await removeOldest(folder)
      const name = `${stamp(at)}-${serial(number)}-${kind}-${fileSafe(address)}`
      const draft = join(folder, `.${name}.part`)
      const file = join(folder, `${name}.eml`)
      await writeFile(draft, raw, { mode: 0o600 })
      await rename(draft, file)
      return file
    },
  }
}

/** `20261122T070000.000Z`: no colons, which some file systems refuse. */
const stamp = (at: Date): string => at.toISOString().replace(/[-:]/g, '')

/** The process id keeps two processes apart. */
const serial = (number: number): string => `${String(number).padStart(5, '0')}-${process.pid}`

const fileSafe = (address: string): string =>
  address
    .toLowerCase()
    .replace(/[^a-z0-9@._+-]/g, '_')
    .slice(0, 100)

async function removeOldest(folder: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.eml')).sort()
  const surplus = names.slice(0, Math.max(0, names.length - kept))
  await Promise.all(surplus.map((name) => rm(join(folder, name), { force: true })))
}
