/** Explains errors of files and folders to the operator, by the code of the operating system, SQLite or Emscripten. */
import { OperatorError } from '../errors.ts'

/**
 * What is wrong and what to do about it, completing a sentence that begins with the path; null for errors that do not
 * come from the file system.
 */
export function diskFault(error: unknown): string | null {
  const code = codeOf(error)
  for (const [pattern, fault] of faults) if (pattern.test(code)) return `${fault} (${code})`
  return null
}

/** @throws OperatorError for an error of the file system, explained for `path`; any other error as it is */
export function explainFileError(error: unknown, path: string): never {
  const fault = diskFault(error)
  if (fault === null) throw error
  throw new OperatorError(`${path} ${fault}.`, { cause: error })
}

const faults: readonly (readonly [RegExp, string])[] = [
  [
    /^(ENOSPC|EDQUOT|SQLITE_FULL)$/,
    'cannot be written: the disk or its quota is full; make room and try again',
  ],
  [/^(EROFS|SQLITE_READONLY)/, 'is on a read-only file system; mount it writable or choose another place'],
  [
    /^(EACCES|EPERM|SQLITE_CANTOPEN)/,
    'cannot be used: this user may not read or write it, or something in it; fix its owner and permissions, or ' +
      'choose another place',
  ],
  [/^ENOENT$/, 'cannot be found or created: there is no such file or folder; choose another'],
  [/^(EEXIST|ENOTDIR)$/, 'is a file, or leads through one, where a folder is needed; choose another'],
  [/^EISDIR$/, 'is a folder; name a file'],
  [/^ENAMETOOLONG$/, 'has a path that is too long; choose a shorter one'],
  [/^EFBIG$/, 'cannot be written: it would exceed the limit on file sizes (ulimit -f)'],
  [
    /^(EMFILE|ENFILE)$/,
    'cannot be opened: too many files are open; raise the limit (ulimit -n, LimitNOFILE)',
  ],
  [
    /^(EIO|SQLITE_IOERR)/,
    'cannot be read or written: the disk is failing; see the system log, and restore a backup on another one',
  ],
  [/^EPIPE$/, 'was closed early: the program that reads it has ended'],
]

/** Emscripten's errors carry WASI's errno instead of a name. */
const wasiErrors: Readonly<Record<number, string>> = {
  2: 'EACCES',
  19: 'EDQUOT',
  20: 'EEXIST',
  22: 'EFBIG',
  29: 'EIO',
  33: 'EMFILE',
  37: 'ENAMETOOLONG',
  41: 'ENFILE',
  51: 'ENOSPC',
  54: 'ENOTDIR',
  63: 'EPERM',
  69: 'EROFS',
}

function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return ''
  const [name, code, errno] = ['name', 'code', 'errno'].map((field): unknown => Reflect.get(error, field))
  if (typeof code === 'string') return code
  return name === 'ErrnoError' && typeof errno === 'number' ? (wasiErrors[errno] ?? '') : ''
}
