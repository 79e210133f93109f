/** A backup or a restore cannot go on; the message tells the operator why and what to do. */
export class BackupRefused extends Error {
  override readonly name = 'BackupRefused'
}

/** What the operating system said about a path, in words that say what to do; anything else is thrown as it came. */
export function explainFileError(error: unknown, path: string): never {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const explained = explanations[code]
  if (explained === undefined) throw error
  throw new BackupRefused(`${path}: ${explained}`, { cause: error })
}

const explanations: Record<string, string> = {
  ENOENT: 'there is no such file or folder.',
  ENOTDIR: 'a part of this path is a file where a folder is needed.',
  EISDIR: 'this is a folder; name a file.',
  EACCES: 'this user may not do that here; choose another place or mend the permissions.',
  EPERM: 'this user may not do that here; choose another place or mend the permissions.',
  EROFS: 'this disk can only be read; choose another place.',
  ENOSPC: 'the disk is full; make room or choose another place.',
  EDQUOT: 'the disk quota is used up; make room or choose another place.',
  EFBIG: 'a file may not be that large here (ulimit -f, or the file system); choose another place.',
  EIO: 'the disk could not be read or written (an I/O error); look into the system log.',
}
