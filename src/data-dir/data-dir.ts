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

/** In DATA_DIR: the generated key that signs tokens, unless JWT_SECRET_KEY is set. */
export const secretFile = 'jwt-secret-key'

/** Creates the folder (0700) if it is missing. @throws ConfigError when it cannot be used */
export function prepareDataDir(dataDir: string): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    throw unusable(dataDir, error)
  }
}

/** Writes a file there and removes it, which detects a full disk too. @throws ConfigError when that fails */
export function tryWriting(variable: string, folder: string): void {
  const file = join(folder, `.minimart-check-${process.pid}`)
  try {
    writeFileSync(file, Buffer.alloc(trialBytes), { mode: 0o600, flag: 'wx', flush: true })
  } catch (error) {
    throw unusable(folder, error, variable)
  } finally {
    rmSync(file, { force: true })
  }
}

const trialBytes = 64 * 1024

function unusable(folder: string, error: unknown, variable = 'DATA_DIR'): ConfigError {
  const reason = error instanceof Error ? error.message : String(error)
  const fault = diskFault(error) ?? `must be a folder that this user may write to (${reason}); choose another`
  return new ConfigError([`${variable}: ${folder} ${fault}`])
}

/**
 * Creates a folder in DATA_DIR with mode 0700, or restricts an existing one to it. DATA_DIR itself keeps its mode, since
 * it may be a mounted volume or even /tmp; so each thing in it is restricted by itself.
 */
export function ownerOnlyFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const { mode, uid } = statSync(folder)
  if ((mode & 0o077) !== 0 && uid === process.getuid?.()) chmodSync(folder, 0o700)
}

/** The signing key in the data folder, generated now if there is none. The file has mode 0600. */
export function generatedSecret(dataDir: string): string {
  const file = join(dataDir, secretFile)
  if (!existsSync(file)) {
    prepareDataDir(dataDir)
    try {
      writeFileSync(file, randomBytes(48).toString('base64url'), { mode: 0o600, flag: 'wx', flush: true })
    } catch (error) {
      // Half a key must not block the next start, but a key that another process has just created must stay.
      if (!exists(error)) rmSync(file, { force: true })
      throw unusable(dataDir, error)
    }
  }
  chmodSync(file, 0o600)
  const secret = readFileSync(file, 'utf8').trim()
  if (secret.length < 32)
    throw new ConfigError([`DATA_DIR: ${file} does not hold a key; remove it to have a new one generated`])
  return secret
}

const exists = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'EEXIST'
