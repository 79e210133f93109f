/**
 * One-time codes that prove an e-mail address: six digits, stored as a MAC and consumed by compare-and-set, so that a
 * code verifies once. Every guess is charged before it is answered, to the code's five tries and the account's twenty
 * an hour, however many arrive at once.
 *
 * Codes are kept by user id, so that one issued for a user who is then not created belongs to nobody. An unknown
 * address stands for itself and takes the same path in the same time, but leaves nothing in the store: its guesses are
 * counted in this process.
 */
import { randomInt } from 'node:crypto'
import { type Static, Type } from '@sinclair/typebox'
import type { RateLimits } from '../../access/rate-limits.ts'
import { AppError } from '../../errors.ts'
import { equalInConstantTime, mac } from '../../lib/keys.ts'
import { createLocalCounter } from '../../store/local-counter.ts'
import type { Store } from '../../store/store.ts'
import { type ReportUnfit, storedJson } from '../../store/stored-json.ts'
import { isOnItsWay, type MailedSecret, nobody, renewEntry, type SecretHolder } from './mailed-secrets.ts'

export interface Otps {
  /** The first code of a user who is about to be created. */
  issue(userId: string): Promise<string>
  /**
   * A new code; the previous one and its count of wrong tries are gone. A code that was guessed to death is not spared.
   * @param holder null: nobody, in the same time
   * @param mayMail whether the holder may be mailed it
   * @returns null where there is none to mail: the last one may still be on its way, or `mayMail` refuses
   */
  renew(holder: SecretHolder | null, mayMail: RateLimits['mayMail']): Promise<MailedSecret | null>
  /**
   * @param subjects whose code it may be. A guess counts against each of them
   * @returns whose it was
   * @throws AppError otp_invalid, otp_attempts_exceeded (400), rate_limited (429, 20 tries an hour)
   */
  consume<Subject extends OtpSubject>(subjects: Several<Subject>, code: string): Promise<Subject>
}

/** Whose code it is: a user's, or nobody's where the address is unknown. */
export type OtpSubject = { userId: string } | { unknownEmail: string }

type Several<T> = readonly [T, ...T[]]

/** A code as it is stored; `version` goes up when a field changes its meaning. */
const Entry = Type.Object({
  version: Type.Optional(Type.Literal(1)),
  proof: Type.String(),
  wrongTries: Type.Integer({ minimum: 0 }),
  /** Milliseconds since 1970: a wrong try rewrites the entry and must not prolong its life. */
  expiresAt: Type.Number(),
})
type Entry = Static<typeof Entry>

const maxEntryBytes = 1024

const maxWrongTriesPerCode = 5
const maxWrongTriesPerHour = 20
const hourSeconds = 3600

/** @param previousKeys codes issued under them are still good */
export function createOtps(
  store: Store,
  key: Buffer,
  ttlSeconds: number,
  previousKeys: readonly Buffer[],
  reportUnfit: ReportUnfit,
): Otps {
  const readEntry = storedJson('one-time code', Entry, maxEntryBytes, reportUnfit)
  const keyFor = (signingKey: Buffer, subject: string): string => `otp:${mac(signingKey, subject)}`
  const proofOf = (signingKey: Buffer, subject: string, code: string): string =>
    mac(signingKey, `${subject}\n${code}`)
  const { chargeTry, withTriesLeft } = limitTries(store, key)

  /** Under each key, the current one first, whatever it finds, so that its time reveals nothing. */
  const entriesOf = (subject: string) =>
    Promise.all(
      [key, ...previousKeys].map(async (signingKey) => {
        const stored = await store.get(keyFor(signingKey, subject))
        const found = readEntry(stored)
        return { signingKey, stored, fits: stored === null || found !== null, entry: unexpired(found) }
      }),
    )

  const newCode = (subject: string): { code: string; stored: string } => {
    const code = String(randomInt(1_000_000)).padStart(6, '0')
    const expiresAt = Date.now() + ttlSeconds * 1000
    const entry: Entry = { version: 1, proof: proofOf(key, subject, code), wrongTries: 0, expiresAt }
    return { code, stored: JSON.stringify(entry) }
  }

  const isGoodAndOnItsWay = (entry: Entry | null): boolean =>
    entry !== null &&
    entry.wrongTries < maxWrongTriesPerCode &&
    isOnItsWay(entry.expiresAt - ttlSeconds * 1000)

  /** A code that is right is used up, else it has one try less; concurrent guesses count one by one. */
  const tryCode = async (subject: string, code: string): Promise<'right' | 'wrong' | 'exhausted'> => {
    for (;;) {
      const found = (await entriesOf(subject)).find(({ entry }) => entry !== null)
      const { signingKey, stored, entry } = found ?? { signingKey: key, stored: null, entry: null }
      if (entry && entry.wrongTries >= maxWrongTriesPerCode) return 'exhausted'
      const isRight = equalInConstantTime(entry?.proof ?? '', proofOf(signingKey, subject, code))
      if (entry === null) return 'wrong'
      const next = isRight ? null : JSON.stringify({ ...entry, wrongTries: entry.wrongTries + 1 })
      // The entry of a used-up code stays until it expires, so that later tries learn why they fail.
      if (await store.compareAndSet(keyFor(signingKey, subject), stored, next, secondsLeft(entry)))
        return isRight ? 'right' : 'wrong'
    }
  }

  return {
    async issue(userId) {
      const { code, stored } = newCode(userId)
      await store.set(keyFor(key, userId), stored, ttlSeconds)
      return code
    },

    async renew(holder, mayMail) {
      const subject = holder?.userId ?? nobody()
      const { code, stored } = newCode(subject)
      const read = async () => {
        const entries = await entriesOf(subject)
        const isDue = !entries.some(({ entry }) => isGoodAndOnItsWay(entry))
        const [{ stored: before = null, fits = true } = {}] = entries
        return { before, fits, next: isDue ? stored : null }
      }
      const entryKey = keyFor(key, subject)
      const withdraw = await renewEntry({ store, holder, mayMail, key: entryKey, ttlSeconds, read })
      if (withdraw === null) return null
      await Promise.all(previousKeys.map((previous) => store.delete(keyFor(previous, subject))))
      return { value: code, withdraw }
    },

    async consume(subjects, code) {
      const tried = await Promise.all(
        (await withTriesLeft(subjects)).map(async (subject) => ({
          subject,
          outcome: await tryCode('userId' in subject ? subject.userId : subject.unknownEmail, code),
        })),
      )
      const charged = tried.filter(({ outcome }) => outcome !== 'exhausted')
      // The right code is charged as well, before it is answered: else concurrent guesses could pass the hour's limit.
      await Promise.all(charged.map(({ subject }) => chargeTry(subject)))
      const right = charged.find(({ outcome }) => outcome === 'right')
      if (right) return right.subject
      if (charged.length > 0) throw new AppError('otp_invalid', 'The code is wrong, used or expired.')
      throw new AppError(
        'otp_attempts_exceeded',
        'Too many wrong tries: this code is no longer good. Ask for a new one.',
      )
    },
  }
}

/** Twenty tries an hour, whatever the code. */
function limitTries(store: Store, key: Buffer) {
  const tries = countTries(store, key)

  const chargeTry = async (subject: OtpSubject): Promise<void> => {
    const { count, expiresInMs } = await tries.add(subject)
    if (count > maxWrongTriesPerHour)
      throw new AppError('rate_limited', 'Too many wrong codes for this account. Try again later.', {
        retryAfterSeconds: expiresInMs / 1000,
      })
  }

  /**
   * Those that have tries left. Runs before the code is looked at: a refused try must not use it up.
   * @throws AppError rate_limited (429) where nobody has
   */
  const withTriesLeft = async <Subject extends OtpSubject>(subjects: Several<Subject>) => {
    const counts = await Promise.all(subjects.map(tries.count))
    const left = subjects.filter((_, index) => (counts[index] ?? 0) < maxWrongTriesPerHour)
    // Counting once more reveals when the hour ends, and does not put that off.
    if (left.length === 0) await chargeTry(subjects[0])
    return left
  }

  return { chargeTry, withTriesLeft }
}

/** Wrong tries of the hour: a user's in the store, those at an unknown address here, with as many calls to the store. */
function countTries(store: Store, key: Buffer) {
  const local = createLocalCounter()
  const keyFor = (userId: string): string => `otp-wrong:${mac(key, userId)}`
  const nobodys = 'otp-wrong:nobody'
  return {
    /** What is no number counts as none, and is replaced by the next. */
    async count(subject: OtpSubject): Promise<number> {
      if ('userId' in subject) return Number(await store.get(keyFor(subject.userId))) || 0
      await store.get(nobodys)
      return local.count(subject.unknownEmail)
    },
    async add(subject: OtpSubject): Promise<{ count: number; expiresInMs: number }> {
      if ('userId' in subject) return store.increment(keyFor(subject.userId), hourSeconds)
      await store.increment(nobodys, 1)
      return local.increment(subject.unknownEmail, hourSeconds)
    },
  }
}

const unexpired = (entry: Entry | null): Entry | null =>
  entry !== null && entry.expiresAt > Date.now() ? entry : null

const maxSeconds = 86_400

/** Of a code's life; no setting gives it more than a day. */
const secondsLeft = ({ expiresAt }: Entry): number =>
  Math.min(maxSeconds, Math.max(1, Math.ceil((expiresAt - Date.now()) / 1000)))
