/** How a setting is described and read: the words in which config.ts states its table. */
import ipaddr from 'ipaddr.js'
import { parseSender } from './sender.ts'

/** A limit of `count` per `windowSeconds`; null switches it off. */
export type RateLimit = { count: number; windowSeconds: number } | null

export interface Setting<T> {
  variable: string
  /** As written in .env.example; undefined when the setting is unset by default. */
  default?: string
  description: string
  /** Throws an Error whose message says what is expected. Undefined stands for unset. */
  parse: (raw: string | undefined) => T
  secret?: true
}

const expected = (what: string): never => {
  throw new Error(what)
}

export const setting = <T>(
  variable: string,
  defaultText: string | undefined,
  parse: (raw: string) => T,
  description: string,
): Setting<T> => ({
  variable,
  ...(defaultText === undefined ? {} : { default: defaultText }),
  description,
  parse: (raw) => parse(raw ?? defaultText ?? ''),
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

export const text = (raw: string): string => raw

export const integer =
  (min: number, max: number) =>
  (raw: string): number => {
    const value = /^\d{1,9}$/.test(raw) ? Number(raw) : Number.NaN
    return value >= min && value <= max ? value : expected(`must be a whole number from ${min} to ${max}`)
  }

export const oneOf =
  <const T extends string>(...choices: T[]) =>
  (raw: string): T =>
    choices.find((choice) => choice === raw) ?? expected(`must be one of ${choices.join(', ')}`)

export const boolean = (raw: string): boolean => oneOf('true', 'false')(raw) === 'true'

export const url =
  (...protocols: string[]) =>
  (raw: string): string => {
    const parsed = URL.parse(raw)
    return parsed && protocols.includes(parsed.protocol)
      ? raw
      : expected(`must be a URL starting with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`)
  }

/** redis:// with the number of a database behind it, or nothing. */
export const redisServer = (raw: string): string => {
  const { pathname } = new URL(url('redis:', 'rediss:')(raw))
  return /^\/?\d{0,5}$/.test(pathname)
    ? raw
    : expected('must name a database by its number, like redis://host:6379/2, or none')
}

export const email = (raw: string): string =>
  /^[^\s@<>,;"]+@[^\s@<>,;"]+$/.test(raw) ? raw.toLowerCase() : expected('must be an e-mail address')

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
      : expected(`must be origins like https://shop.example.com, separated by commas; "${part}" is none`)
  })

const windows: Record<string, number> = { second: 1, minute: 60, hour: 3600, day: 86_400 }

export const rateLimit = (raw: string): RateLimit => {
  if (raw === 'off') return null
  const [, count, unit] = /^([1-9]\d{0,6})\/(second|minute|hour|day)$/.exec(raw) ?? []
  const windowSeconds = windows[unit ?? '']
  return windowSeconds === undefined
    ? expected('must be "off" or a number and a window, like 10/minute (second, minute, hour or day)')
    : { count: Number(count), windowSeconds }
}

/** Whose X-Forwarded-For is believed: nobody's, that of a number of proxies in a row, or of named addresses. */
export type TrustProxy = { hops: number } | { addresses: string[] }

const isAddressOrRange = (text: string): boolean =>
  text.includes('/') ? ipaddr.isValidCIDR(text) : ipaddr.isValid(text)

export const trustProxy = (raw: string): TrustProxy => {
  if (raw === 'false') return { hops: 0 }
  if (/^\d{1,2}$/.test(raw)) return { hops: Number(raw) }
  const addresses = list(raw)
  return addresses.length > 0 && addresses.every(isAddressOrRange)
    ? { addresses }
    : expected('must be false, a number of hops, or addresses and CIDR ranges separated by commas')
}

const minimumSecretBytes = 32

/** Values that stand in guides and examples; anyone can sign with them. */
const sampleSecrets: readonly string[] = [
  'a-string-secret-at-least-256-bits-long',
  'a-valid-string-secret-that-is-at-least-256-bits-long-which-is-very-long',
  '09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7',
  'this-is-a-secret-key-for-jwt-that-is-at-least-32-bytes',
]
const samplePrefix = /^(change|replace)[-_ ]?(me|this|it)|^(your|insert|put)[-_ ]/i

export const signingKey = (raw: string): string => {
  if (Buffer.byteLength(raw) < minimumSecretBytes)
    return expected(`must have at least ${minimumSecretBytes} bytes`)
  return samplePrefix.test(raw) || sampleSecrets.includes(raw.toLowerCase())
    ? expected('is a known sample value; make one with: openssl rand -base64 48')
    : raw
}

/** A sender of mails, as in EMAIL_FROM. */
export const sender = parseSender
