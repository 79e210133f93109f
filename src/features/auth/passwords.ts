/**
 * Passwords: argon2id (RFC 9106) at the parameters OWASP's password storage cheat sheet gives as its first choice.
 * Hashing runs in the addon's threads, a few at a time; a short queue stands before it and past its end the answer
 * is `busy` at once, so that a flood of sign-ins costs waiting to nobody but itself.
 */
import { tmpdir } from 'node:os'
import { dictionary } from '@zxcvbn-ts/language-common'
import { ConfigError } from '../../config/config.ts'
import { AppError, invalidField } from '../../errors.ts'

/** `memoryCost` in KiB, `timeCost` in passes, `parallelism` in lanes. */
export interface HashParameters {
  readonly memoryCost: number
  readonly timeCost: number
  readonly parallelism: number
}

const standardParameters: HashParameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }

/** Some 18,000: the list's passwords long enough to be chosen here at all, already in lower case. */
const mostCommon: ReadonlySet<string> = new Set(
  dictionary['passwords-common'].filter((password) => password.length >= 8),
)

export interface Passwords {
  /** @throws AppError busy (503) when too many wait already */
  hash(password: string): Promise<string>
  /** Null stands for "no such account" and takes as long as a real one. @throws AppError busy (503) */
  verify(storedHash: string | null, password: string): Promise<boolean>
  /** Whether the hash was made with other parameters than today's and should be replaced. */
  isOutdated(storedHash: string): boolean
  /** How many run and wait, for the metrics. */
  load(): { running: number; waiting: number }
}

/**
 * @param concurrency how many hashes are computed at once
 * @param maxWaiting how many may stand in line
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
  let running = 0
  const waiting: (() => void)[] = []

  const inTurn = async <T>(work: () => Promise<T>): Promise<T> => {
    if (running >= concurrency) {
      if (waiting.length >= maxWaiting)
        throw new AppError('busy', 'Too many people are signing in right now. Try again in a moment.', {
          retryAfterSeconds: 2,
        })
      // Whoever finishes hands its place on, so `running` does not change in between.
      await new Promise<void>((resolve) => waiting.push(resolve))
    } else running++
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else running--
    }
  }

  return {
    hash: (password) => inTurn(() => hash(password, parameters)),
    verify: (storedHash, password) =>
      inTurn(async () => (await verify(storedHash ?? dummyHash, password)) && storedHash !== null),
    isOutdated: (storedHash) => !storedHash.startsWith(currentForm),
    load: () => ({ running, waiting: waiting.length }),
  }
}

/** In the executable the addon is unpacked into the temporary folder before it is loaded from there. */
const loadHasher = () =>
  import('@node-rs/argon2').catch((cause: unknown) => {
    throw Object.assign(
      new ConfigError([
        `TMPDIR: the password hasher cannot be unpacked into ${tmpdir()} and loaded from there; ` +
          'name a folder that this user may write to, with room in it, not mounted noexec; it needs glibc',
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
