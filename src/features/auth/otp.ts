/**
 * One-time codes that prove an e-mail address: six digits, stored as a MAC, consumed by compare-and-set so that one
 * code verifies once. Each guess is paid for, with one of the code's tries and one of the account's hour, before it is
 * answered, however many arrive together.
 * Kept under whom they are for, the user's id, so that one for a user who is about to be made, and then is not, is
 * nobody's and kills nobody's. An address that is nobody's stands for itself: it takes the same path and the same time.
 */
import { randomInt } from 'node:crypto'
import { AppError } from '../../errors.ts'
import { equalInConstantTime, mac } from '../../lib/keys.ts'
import type { Store } from '../../store/store.ts'

export interface Otps {
  /** A new code; the one before it, and its count of wrong tries, are gone. */
  issue(userId: string): Promise<string>
  /**
   * @param subject the user's id, or the address where there is no user
   * @throws AppError otp_invalid, otp_attempts_exceeded (400), rate_limited (429, 20 tries an hour)
   */
  consume(subject: string, code: string): Promise<void>
}

interface Entry {
  proof: string
  wrongTries: number
  /** Milliseconds since 1970: a wrong try writes the entry anew and must not prolong its life. */
  expiresAt: number
}

const maxWrongTriesPerCode = 5
const maxWrongTriesPerHour = 20
const hourSeconds = 3600

/** @param previousKeys codes issued under them are still good */
export function createOtps(
  store: Store,
  key: Buffer,
  ttlSeconds: number,
  previousKeys: readonly Buffer[] = [],
): Otps {
  const placeOf = (signingKey: Buffer, subject: string): string => `otp:${mac(signingKey, subject)}`
  const proofOf = (signingKey: Buffer, subject: string, code: string): string =>
    mac(signingKey, `${subject}\n${code}`)
  const hourOf = (subject: string): string => `otp-wrong:${mac(key, subject)}`

  const payForTry = async (subject: string): Promise<void> => {
    const { count, expiresInMs } = await store.increment(hourOf(subject), hourSeconds)
    if (count > maxWrongTriesPerHour)
      throw new AppError('rate_limited', 'Too many wrong codes for this account. Try again later.', {
        retryAfterSeconds: expiresInMs / 1000,
      })
  }

  /** Before anything is asked of the code, which a refused try must not wear out. */
  const refuseUsedUpHour = async (subject: string): Promise<void> => {
    const tries = Number((await store.get(hourOf(subject))) ?? 0)
    // Counting once more is how the store tells when the hour ends; it does not put that off.
    if (tries >= maxWrongTriesPerHour) await payForTry(subject)
  }

  /** Looks under every key whatever it finds, so that its time tells nothing. */
  const find = async (subject: string) => {
    const found = await Promise.all(
      [key, ...previousKeys].map(async (signingKey) => {
        const stored = await store.get(placeOf(signingKey, subject))
        return { signingKey, stored, entry: readEntry(stored) }
      }),
    )
    return found.find(({ entry }) => entry !== null) ?? { signingKey: key, stored: null, entry: null }
  }

  /** Whether this is the code. If so it is gone, else it has a try less; of guesses that come at once, each for itself. */
  const tryCode = async (subject: string, code: string): Promise<boolean> => {
    for (;;) {
      const { signingKey, stored, entry } = await find(subject)
      if (entry && entry.wrongTries >= maxWrongTriesPerCode)
        throw new AppError(
          'otp_attempts_exceeded',
          'Too many wrong tries: this code is dead. Ask for a new one.',
        )
      const right = equalInConstantTime(entry?.proof ?? '', proofOf(signingKey, subject, code))
      if (entry === null) return false
      const next = right ? null : JSON.stringify({ ...entry, wrongTries: entry.wrongTries + 1 })
      // A dead code's place is kept a while, to tell that it died of wrong tries.
      if (await store.compareAndSet(placeOf(signingKey, subject), stored, next, secondsLeft(entry)))
        return right
    }
  }

  return {
    async issue(userId) {
      const code = String(randomInt(1_000_000)).padStart(6, '0')
      const expiresAt = Date.now() + ttlSeconds * 1000
      const entry: Entry = { proof: proofOf(key, userId, code), wrongTries: 0, expiresAt }
      await Promise.all(previousKeys.map((previous) => store.delete(placeOf(previous, userId))))
      await store.set(placeOf(key, userId), JSON.stringify(entry), ttlSeconds)
      return code
    },

    async consume(subject, code) {
      await refuseUsedUpHour(subject)
      const right = await tryCode(subject, code)
      // Not answered before it is paid for, the right one neither: else many at once were more than the hour allows.
      await payForTry(subject)
      if (!right) throw new AppError('otp_invalid', 'The code is wrong, used or expired.')
    },
  }
}

function readEntry(stored: string | null): Entry | null {
  const entry = stored === null ? null : (JSON.parse(stored) as Entry)
  return entry && entry.expiresAt > Date.now() ? entry : null
}

const secondsLeft = (entry: Entry): number => Math.max(1, Math.ceil((entry.expiresAt - Date.now()) / 1000))
