/**
 * One-time codes that prove an e-mail address: six digits, stored as a MAC, consumed by compare-and-set so that one
 * code verifies once and each guess is paid for before it is answered, however many arrive together.
 * Keyed by address, not by account: an unknown address takes the same path and the same time.
 */
import { randomInt } from 'node:crypto'
import { AppError } from '../../errors.ts'
import { equalInConstantTime, mac } from '../../lib/keys.ts'
import type { Store } from '../../store/store.ts'

export interface Otps {
  /** A new code; the one before it, and its count of wrong tries, are gone. */
  issue(email: string): Promise<string>
  /** @throws AppError otp_invalid, otp_attempts_exceeded (400), rate_limited (429, 20 wrong tries an hour) */
  consume(email: string, code: string): Promise<void>
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

export function createOtps(store: Store, key: Buffer, ttlSeconds: number): Otps {
  const address = (email: string): string => mac(key, email)
  const proofOf = (email: string, code: string): string => mac(key, `${email}\n${code}`)

  const countWrongTry = async (email: string): Promise<void> => {
    await store.increment(`otp-wrong:${address(email)}`, hourSeconds)
  }

  const refuseTooManyGuesses = async (email: string): Promise<void> => {
    const wrong = Number((await store.get(`otp-wrong:${address(email)}`)) ?? 0)
    if (wrong >= maxWrongTriesPerHour)
      throw new AppError(
        'rate_limited',
        'Too many wrong codes for this account. Try again within the hour.',
        {
          retryAfterSeconds: hourSeconds,
        },
      )
  }

  return {
    async issue(email) {
      const code = String(randomInt(1_000_000)).padStart(6, '0')
      const expiresAt = Date.now() + ttlSeconds * 1000
      const entry: Entry = { proof: proofOf(email, code), wrongTries: 0, expiresAt }
      await store.set(`otp:${address(email)}`, JSON.stringify(entry), ttlSeconds)
      return code
    },

    async consume(email, code) {
      await refuseTooManyGuesses(email)
      const place = `otp:${address(email)}`
      for (;;) {
        const stored = await store.get(place)
        const entry = readEntry(stored)
        if (entry && entry.wrongTries >= maxWrongTriesPerCode)
          throw new AppError(
            'otp_attempts_exceeded',
            'Too many wrong tries: this code is dead. Ask for a new one.',
          )
        const right = equalInConstantTime(entry?.proof ?? '', proofOf(email, code))
        const next = !entry || right ? null : JSON.stringify({ ...entry, wrongTries: entry.wrongTries + 1 })
        // A dead code's place is kept a while, to tell that it died of wrong tries.
        if (entry && !(await store.compareAndSet(place, stored, next, secondsLeft(entry)))) continue
        if (right) return
        await countWrongTry(email)
        throw new AppError('otp_invalid', 'The code is wrong, used or expired.')
      }
    },
  }
}

function readEntry(stored: string | null): Entry | null {
  const entry = stored === null ? null : (JSON.parse(stored) as Entry)
  return entry && entry.expiresAt > Date.now() ? entry : null
}

const secondsLeft = (entry: Entry): number => Math.max(1, Math.ceil((entry.expiresAt - Date.now()) / 1000))
