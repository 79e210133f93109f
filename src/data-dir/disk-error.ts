/** What failed about a file or folder, told by the operating system's, SQLite's or Emscripten's code, never by text. */
import { OperatorError } from '../errors.ts'

/**
 * What the operator can do about it, as the end of a sentence that names the file or folder; null where the error is
 * none of the disk's.
 */
export function diskFault(error: unknown): string | null {
  const code = codeOf(error)
  for (const [pattern, words] of faults) if (pattern.test(code)) return `${words} (${code})`
  return null
}

/** What the operating system said about a path, in words that say what to do; anything else is thrown as it came. */
export function explainFileError(error: unknown, path: string): never {
  const words = diskFault(error)
  if (words === null) throw error
  throw new OperatorError(`${path} ${words}.`, { cause: error })
}

const faults: readonly (readonly [RegExp, string])[] = [
  [
    /^(ENOSPC|EDQUOT|SQLITE_FULL)$/,
    'cannot be written: the disk or its quota is full; make room and try again',
  ],
  [/^(EROFS|SQLITE_READONLY)/, 'is on a read-only file system; mount it writable or choose another place'],
  [
    /^(EACCES|EPERM|SQLITE_CANTOPEN)/,
    'cannot be used: this user may not read or write it, or something in it; mend the permissions and the owner, or ' +
      'choose another place',
  ],
  [/^ENOENT$/, 'cannot be found or made: there is no such file or folder; choose another'],
  [/^(EEXIST|ENOTDIR)$/, 'is a file, or leads through one, where a folder is needed; choose another'],
  [/^EISDIR$/, 'is a folder; name a file'],
  [/^ENAMETOOLONG$/, 'has too long a path; choose a shorter one'],
  [/^EFBIG$/, 'cannot be written: a limit on the size of files is in the way (ulimit -f)'],
  [
    /^(EMFILE|ENFILE)$/,
    'cannot be opened: too many files are open; raise the limit (ulimit -n, LimitNOFILE)',
  ],
  [
    /^(EIO|SQLITE_IOERR)/,
    'cannot be read or written: the disk fails; see the system log, and restore a backup elsewhere',
  ],
  [/^EPIPE$/, 'was closed before its end: the program that reads it has stopped'],
]

/** Emscripten's own numbers, which its errors carry instead of names (WASI's errno). */
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
