import { existsSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { OperatorError } from '../errors.ts'

/** For what the database itself writes meanwhile. */
const reservedBytes = 64 * 2 ** 20

export interface Need {
  bytes: number
  /** Completes "has no room for …". */
  what: string
  /** What to do about it, a sentence. */
  remedy: string
}

/**
 * @param folder need not exist yet
 * @throws OperatorError when its disk does not have that many bytes to spare
 */
export async function ensureRoom(folder: string, { bytes, what, remedy }: Need): Promise<void> {
  let existing = folder
  while (!existsSync(existing)) existing = dirname(existing)
  const { bavail, bsize } = await statfs(existing)
  const [needed, free] = [bytes + reservedBytes, bavail * bsize]
  if (free >= needed) return
  throw new OperatorError(
    `${folder} has no room for ${what}: ${Math.ceil(needed / 1_000_000)} MB are needed, and its disk has ` +
      `${Math.floor(free / 1_000_000)} MB free. ${remedy}`,
  )
}
