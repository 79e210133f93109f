/** What the settings table is made of: the type of a setting, and parsers of values. */

import ipaddr from 'ipaddr.js'
import { isEmail, maxEmailLength } from '../lib/patterns.ts'
import { isStreamSafe, maxCombiningMarks } from '../lib/unicode.ts'

/** `count` per `windowSeconds`; null disables it. */
export type RateLimit = { count: number; windowSeconds: number } | null

export interface Setting<T> {
  variable: string
  /** As written in .env.example; absent when the setting is unset by default. */
  default?: string
  description: string
  /**
   * @param raw undefined when unset
   * @throws Error saying what is expected, to follow the variable's name
   */
  parse: (raw: string | undefined) => T
  secret?: true
  /** Blanks around the value belong to it. */
  verbatim?: true
}

const fail = (message: string): never => {
  throw new Error(message)
}

export const setting = <T>(
  variable: string,
  defaultText: string,
  parse: (raw: string) => T,
  description: string,
): Setting<T> => ({
  variable,
  default: defaultText,
  description,
  parse: (raw) => parse(raw ?? defaultText),
})

export const optional = <T>(
  variable: string,
  parse: (raw: string) => T,
  description: string,
): Setting<T | null> => ({
  variable,
  description,
  parse: (raw) => (raw === undefined ? null : parse(raw)),
})

export const secret = <T>(entry: Setting<T>): Setting<T> => ({ ...entry, secret: true })

export const verbatim = <T>(entry: Setting<T>): Setting<T> => ({ ...entry, verbatim: true })

export const text = (raw: string): string => raw

export const integer =
  (min: number, max: number) =>
  (raw: string): number => {
    const value = /^\d{1,9}$/.test(raw) ? Number(raw) : Number.NaN
    return value >= min && value <= max ? value : fail(`must be a whole number from ${min} to ${max}`)
  }

/** Null for `off`. */
export const orOff =
  (parse: (raw: string) => number) =>
  (raw: string): number | null =>
    raw === 'off' ? null : parse(raw)

export const oneOf =
  <const T extends string>(...choices: T[]) =>
  (raw: string): T =>
    choices.find((choice) => choice === raw) ?? fail(`must be one of ${choices.join(', ')}`)

export const boolean = (raw: string): boolean => oneOf('true', 'false')(raw) === 'true'

export const url =
  (...protocols: string[]) =>
  (raw: string): string => {
    const parsed = URL.parse(raw)
    return parsed && protocols.includes(parsed.protocol)
      ? raw
      : fail(`must be a URL starting with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`)
  }

/** redis:// or rediss://, with a database number or none. */
export const redisServer = (raw: string): string => {
  const { pathname } = new URL(url('redis:', 'rediss:')(raw))
  return /^\/?\d{0,5}$/.test(pathname)
    ? raw
    : fail('must have a database number as its path, like redis://host:6379/2, or none')
}

/** As the API reads text (http/body.ts), so that what is set is what people can type. */
function normalised(raw: string): string {
  if (!raw.isWellFormed() || raw.includes('\uFFFD')) return fail('must be text in UTF-8')
  if (!isStreamSafe(raw)) return fail(`must not have more than ${maxCombiningMarks} combining marks in a row`)
  return raw.normalize('NFC')
}

/** As sign-in takes it (http/fields.ts). */
export function email(raw: string): string {
  const address = normalised(raw)
  return isEmail(address)
    ? address.toLowerCase()
    : fail(`must be an e-mail address of up to ${maxEmailLength} characters, without quotes and comments`)
}

/** As the API takes new ones (http/fields.ts); auth/passwords.ts refuses those that are easily guessed. */
export function newPassword(raw: string): string {
  const password = normalised(raw)
  // From a file, most likely, and not meant.
  if (/[\r\n]$/.test(password)) return fail('must not end with a line break')
  const { length } = [...password]
  return length >= 8 && length <= 128 ? password : fail('must have 8 to 128 characters')
}

export const list = (raw: string): string[] =>
  raw
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')

export const origins = (raw: string): string[] =>
  list(raw).map((part) => {
    const parsed = URL.parse(part)
    return parsed && ['http:', 'https:'].includes(parsed.protocol) && parsed.origin === part.toLowerCase()
      ? parsed.origin
      : fail(`must be origins like https://shop.example.com, comma-separated; "${part}" is not one`)
  })

const windows: Record<string, number> = { second: 1, minute: 60, hour: 3600, day: 86_400 }

export const rateLimit = (raw: string): RateLimit => {
  if (raw === 'off') return null
  const [, count, unit] = /^([1-9]\d{0,6})\/(second|minute|hour|day)$/.exec(raw) ?? []
  const windowSeconds = windows[unit ?? '']
  return windowSeconds === undefined
    ? fail('must be off or a limit like 10/minute (second, minute, hour or day)')
    : { count: Number(count), windowSeconds }
}

/** Whose X-Forwarded-For is trusted: that of the last `hops` proxies, 0 for none, or of these addresses. */
export type TrustProxy = { hops: number } | { addresses: string[] }

/** As many entries of the header are looked at. */
export const maxProxies = 32

const isAddressOrRange = (text: string): boolean =>
  text.includes('/') ? ipaddr.isValidCIDR(text) : ipaddr.isValid(text)

export const trustProxy = (raw: string): TrustProxy => {
  if (raw === 'false') return { hops: 0 }
  if (/^\d{1,2}$/.test(raw) && Number(raw) <= maxProxies) return { hops: Number(raw) }
  const addresses = list(raw)
  return addresses.length > 0 && addresses.every(isAddressOrRange)
    ? { addresses }
    : fail(
        `must be false, a number of proxies up to ${maxProxies}, or comma-separated addresses and CIDR ranges`,
      )
}

const minimumSecretBytes = 32

/** Published in guides and examples, so that anyone could sign with them. */
const sampleSecrets: readonly string[] = [
  'a-string-secret-at-least-256-bits-long',
  'a-valid-string-secret-that-is-at-least-256-bits-long-which-is-very-long',
  '09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7',
  'this-is-a-secret-key-for-jwt-that-is-at-least-32-bytes',
]
const samplePrefix = /^(change|replace)[-_ ]?(me|this|it)|^(your|insert|put)[-_ ]/i

export const signingKey = (raw: string): string => {
  if (Buffer.byteLength(raw) < minimumSecretBytes)
    return fail(`must have at least ${minimumSecretBytes} bytes`)
  return samplePrefix.test(raw) || sampleSecrets.includes(raw.toLowerCase())
    ? fail('is a known sample value; generate one with: openssl rand -base64 48')
    : raw
}
