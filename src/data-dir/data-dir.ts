import { randomBytes } from 'node:crypto'
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { ConfigError } from '../config/config.ts'
import { diskFault } from './disk-error.ts'

/** Under DATA_DIR: the key that signs tokens, where none was set. */
export const secretFile = 'jwt-secret-key'

/** Makes the folder, for this user's eyes only, if it is not there. @throws ConfigError when it cannot be used */
export function prepareDataDir(dataDir: string): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    throw unusable(dataDir, error)
  }
}

/** Writes a file there and removes it, which also tells a full disk. @throws ConfigError when it cannot be done */
export function tryWriting(variable: string, folder: string): void {
  const file = join(folder, `.minimart-check-${process.pid}`)
  try {
    writeFileSync(file, Buffer.alloc(triedBytes), { mode: 0o600, flag: 'wx', flush: true })
  } catch (error) {
    throw unusable(folder, error, variable)
  } finally {
    rmSync(file, { force: true })
  }
}

const triedBytes = 64 * 1024

function unusable(folder: string, error: unknown, variable = 'DATA_DIR'): ConfigError {
  const reason = error instanceof Error ? error.message : String(error)
  const words = diskFault(error) ?? `must be a folder that this user may write to (${reason}); choose another`
  return new ConfigError([`${variable}: ${folder} ${words}`])
}

/**
 * Makes a folder in DATA_DIR, or closes it to others where it is there and open. DATA_DIR itself is left as it was
 * found, for it may be anything, a mounted volume or /tmp: that is why each thing in it is closed by itself.
 */
export function ownerOnlyFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const { mode, uid } = statSync(folder)
  if ((mode & 0o077) !== 0 && uid === process.getuid?.()) chmodSync(folder, 0o700)
}

/** The signing key generated into the data folder, made now if there is none. The file is its owner's alone (0600). */
export function generatedSecret(dataDir: string): string {
  const file = join(dataDir, secretFile)
  if (!existsSync(file)) {
    prepareDataDir(dataDir)
    try {
      writeFileSync(file, randomBytes(48).toString('base64url'), { mode: 0o600, flag: 'wx', flush: true })
    } catch (error) {
      // Half a key must not stand in the way of the next start; one that another process just made must.
      if (!isTaken(error)) rmSync(file, { force: true })
      throw unusable(dataDir, error)
    }
  }
  chmodSync(file, 0o600)
  const secret = readFileSync(file, 'utf8').trim()
  if (secret.length < 32)
    throw new ConfigError([`DATA_DIR: ${file} does not hold a key; remove it to have a new one made`])
  return secret
}

const isTaken = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'EEXIST'
