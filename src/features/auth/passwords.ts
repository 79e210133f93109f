/**
 * Passwords: argon2id (RFC 9106) with the parameters that OWASP's password storage cheat sheet lists first. Hashing
 * runs in the addon's threads, behind a short line (hashing-line.ts), so that a flood of sign-ins delays nothing else.
 */
import { tmpdir } from 'node:os'
import { dictionary } from '@zxcvbn-ts/language-common'
import { ConfigError } from '../../config/config.ts'
import { invalidField } from '../../errors.ts'
import { type Asker, createHashingLine } from './hashing-line.ts'

/** `memoryCost` in KiB, `timeCost` in passes, `parallelism` in lanes. */
export interface HashParameters {
  readonly memoryCost: number
  readonly timeCost: number
  readonly parallelism: number
}

const standardParameters: HashParameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }

/** Some 18,000, in lower case: those of the list that are long enough to be chosen here. */
const mostCommon: ReadonlySet<string> = new Set(
  dictionary['passwords-common'].filter((password) => password.length >= 8),
)

export interface Passwords {
  /** @param asker left out: the service itself. @throws AppError busy (503) when there is no place for them */
  hash(password: string, asker?: Asker): Promise<string>
  /** @param storedHash null for an unknown account, which takes as long. @throws AppError busy (503) */
  verify(storedHash: string | null, password: string, asker: Asker | null): Promise<boolean>
  /** Whether a hash has other parameters than today's and should be replaced. */
  isOutdated(storedHash: string): boolean
  /** For the metrics. */
  load(): { running: number; waiting: number }
}

/**
 * @param concurrency how many hashes are computed at the same time
 * @param maxWaiting length of the queue
 * @param parameters only tests pass others: no setting reaches them
 * @throws ConfigError naming TMPDIR when the hasher cannot be loaded
 */
export async function createPasswords(options: {
  concurrency: number
  maxWaiting: number
  parameters?: HashParameters
}): Promise<Passwords> {
  const { concurrency, maxWaiting, parameters = standardParameters } = options
  const { memoryCost, timeCost, parallelism } = parameters
  const currentForm = `$argon2id$v=19$m=${memoryCost},t=${timeCost},p=${parallelism}$`
  /** Hash of a password nobody has: verified where there is no account, so that both take the same time. */
  const dummyHash = `${currentForm}bWluaW1hcnRkdW1teXNhbHQ$KxRNG2hQZ6YVf3kVbIYQZ5CUrPAbbkzvHdcZi6G5a1Q`
  const { hash, verify } = await loadHasher()
  const line = createHashingLine(concurrency, maxWaiting)

  return {
    hash: (password, asker) => line.run(asker ?? null, () => hash(password, parameters)),
    verify: (storedHash, password, asker) =>
      line.run(asker, async () => (await verify(storedHash ?? dummyHash, password)) && storedHash !== null),
    isOutdated: (storedHash) => !storedHash.startsWith(currentForm),
    load: line.load,
  }
}

/** The executable unpacks the addon into the temporary folder and loads it from there. */
const loadHasher = () =>
  import('@node-rs/argon2').catch((cause: unknown) => {
    throw Object.assign(
      new ConfigError([
        `TMPDIR: the password hasher cannot be unpacked into ${tmpdir()} and loaded from there; ` +
          'name a folder that this user may write to, with free space, not mounted noexec; it needs glibc',
      ]),
      { cause },
    )
  })

/** @throws AppError invalid (422) naming `field` when the password is the address or one of the most common */
export function checkNewPassword(password: string, email: string, field: string): void {
  const lower = password.toLowerCase()
  if (lower === email.toLowerCase()) throw invalidField(field, 'must not be the e-mail address')
  if (new Set(password).size === 1) throw invalidField(field, 'must not be one character repeated')
  if (mostCommon.has(lower)) throw invalidField(field, 'is one of the most common passwords; choose another')
}
