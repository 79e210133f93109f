import { diskFault } from '../data-dir/disk-error.ts'

/** A backup or a restore cannot go on; the message tells the operator why and what to do. */
export class BackupRefused extends Error {
  override readonly name = 'BackupRefused'
}

/** What the operating system said about a path, in words that say what to do; anything else is thrown as it came. */
export function explainFileError(error: unknown, path: string): never {
  const words = diskFault(error)
  if (words === null) throw error
  throw new BackupRefused(`${path} ${words}.`, { cause: error })
}
