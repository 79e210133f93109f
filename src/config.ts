/**
 * Every setting of the service: its variable, type, default and description in one table. Nothing else reads
 * the environment. All faults are reported together, each with the variable's name.
 */
import { parseSender } from './lib/sender.ts'

export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  constructor(readonly faults: readonly string[]) {
    super(`The settings need attention:\n${faults.map((fault) => `  ${fault}`).join('\n')}`)
  }
}

/** A limit of `count` per `windowSeconds`; null switches it off. */
export type RateLimit = { count: number; windowSeconds: number } | null

interface Setting<T> {
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

const setting = <T>(
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

const optional = <T>(
  variable: string,
  parse: (raw: string) => T,
  description: string,
): Setting<T | null> => ({
  variable,
  description,
  parse: (raw) => (raw === undefined ? null : parse(raw)),
})

const secret = <T>(entry: Setting<T>): Setting<T> => ({ ...entry, secret: true })

const text = (raw: string): string => raw

const integer =
  (min: number, max: number) =>
  (raw: string): number => {
    const value = /^\d{1,9}$/.test(raw) ? Number(raw) : Number.NaN
    return value >= min && value <= max ? value : expected(`must be a whole number from ${min} to ${max}`)
  }

const oneOf =
  <const T extends string>(...choices: T[]) =>
  (raw: string): T =>
    choices.find((choice) => choice === raw) ?? expected(`must be one of ${choices.join(', ')}`)

const boolean = (raw: string): boolean => oneOf('true', 'false')(raw) === 'true'

const url =
  (...protocols: string[]) =>
  (raw: string): string => {
    const parsed = URL.parse(raw)
    return parsed && protocols.includes(parsed.protocol)
      ? raw
      : expected(`must be a URL starting with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`)
  }

const email = (raw: string): string =>
  /^[^\s@<>,;"]+@[^\s@<>,;"]+$/.test(raw) ? raw.toLowerCase() : expected('must be an e-mail address')

const list = (raw: string): string[] =>
  raw
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')

const origins = (raw: string): string[] =>
  list(raw).map((part) => {
    const parsed = URL.parse(part)
    return parsed && ['http:', 'https:'].includes(parsed.protocol) && parsed.origin === part.toLowerCase()
      ? parsed.origin
      : expected(`must be origins like https://shop.example.com, separated by commas; "${part}" is none`)
  })

const windows: Record<string, number> = { second: 1, minute: 60, hour: 3600, day: 86_400 }

const rateLimit = (raw: string): RateLimit => {
  if (raw === 'off') return null
  const [, count, unit] = /^([1-9]\d{0,6})\/(second|minute|hour|day)$/.exec(raw) ?? []
  const windowSeconds = windows[unit ?? '']
  return windowSeconds === undefined
    ? expected('must be "off" or a number and a window, like 10/minute (second, minute, hour or day)')
    : { count: Number(count), windowSeconds }
}

/** Whose X-Forwarded-For is believed: nobody's, that of a number of proxies in a row, or of named addresses. */
export type TrustProxy = { hops: number } | { addresses: string[] }

const address = /^(\d{1,3}(\.\d{1,3}){3}|[0-9a-f:.]*:[0-9a-f:.]*)(\/\d{1,3})?$/i

const trustProxy = (raw: string): TrustProxy => {
  if (raw === 'false') return { hops: 0 }
  if (/^\d{1,2}$/.test(raw)) return { hops: Number(raw) }
  const addresses = list(raw)
  return addresses.length > 0 && addresses.every((part) => address.test(part))
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

const signingKey = (raw: string): string => {
  if (Buffer.byteLength(raw) < minimumSecretBytes)
    return expected(`must have at least ${minimumSecretBytes} bytes`)
  return samplePrefix.test(raw) || sampleSecrets.includes(raw.toLowerCase())
    ? expected('is a known sample value; make one with: openssl rand -base64 48')
    : raw
}

export const settings = {
  databaseUrl: secret(
    optional(
      'DATABASE_URL',
      url('postgres:', 'postgresql:'),
      'PostgreSQL 15 or later, postgres://user:password@host:5432/name. Unset: the embedded database in DATA_DIR.',
    ),
  ),
  redisUrl: secret(
    optional(
      'REDIS_URL',
      url('redis:', 'rediss:'),
      'Redis for sessions, limits and the bridge between instances. Unset: one instance, state kept in the database.',
    ),
  ),
  dataDir: setting(
    'DATA_DIR',
    './minimart-data',
    text,
    'Folder of the embedded database, the generated secret and the outbox.',
  ),
  host: setting('HOST', '127.0.0.1', text, 'Address to listen on; 0.0.0.0 for all.'),
  port: setting('PORT', '8000', integer(0, 65_535), 'Port to listen on; 0 for any free one.'),
  publicUrl: optional(
    'PUBLIC_URL',
    (raw) => url('http:', 'https:')(raw).replace(/\/+$/, ''),
    'Where people reach the service, for links in mail. Unset: http://HOST:PORT.',
  ),
  jwtSecretKey: secret(
    optional(
      'JWT_SECRET_KEY',
      signingKey,
      'Signs tokens, at least 32 bytes. Required with DATABASE_URL; embedded and unset: generated into DATA_DIR.',
    ),
  ),
  jwtPreviousSecretKeys: secret(
    setting(
      'JWT_PREVIOUS_SECRET_KEYS',
      '',
      (raw) => list(raw).map(signingKey),
      'Earlier keys, comma-separated, still accepted for verifying while you rotate.',
    ),
  ),
  accessTokenTtlMinutes: setting(
    'ACCESS_TOKEN_TTL_MINUTES',
    '15',
    integer(1, 1440),
    'Life of an access token.',
  ),
  refreshTokenTtlDays: setting(
    'REFRESH_TOKEN_TTL_DAYS',
    '7',
    integer(1, 365),
    'Life of an unused refresh token.',
  ),
  otpTtlMinutes: setting('OTP_TTL_MINUTES', '10', integer(1, 1440), 'Life of a mailed one-time code.'),
  invitationTtlHours: setting('INVITATION_TTL_HOURS', '72', integer(1, 8760), 'Life of an invitation.'),
  smtpHost: optional(
    'SMTP_HOST',
    text,
    'Mail server. Unset: mails are written as .eml files into DATA_DIR/outbox.',
  ),
  smtpPort: setting('SMTP_PORT', '587', integer(1, 65_535), 'Port of the mail server.'),
  smtpUser: optional('SMTP_USER', text, 'User at the mail server, where it wants one.'),
  smtpPassword: secret(optional('SMTP_PASSWORD', text, 'Password at the mail server.')),
  smtpSecure: setting(
    'SMTP_SECURE',
    'auto',
    oneOf('auto', 'tls', 'starttls', 'none'),
    'auto: TLS on port 465, else STARTTLS where offered; tls; starttls: required; none: plain text.',
  ),
  emailFrom: setting('EMAIL_FROM', 'MiniMart <no-reply@minimart.local>', parseSender, 'Sender of all mails.'),
  superAdminEmail: optional(
    'SUPER_ADMIN_EMAIL',
    email,
    'First super admin, made at start if there is none. Embedded and unset: admin@minimart.local.',
  ),
  superAdminPassword: secret(
    optional(
      'SUPER_ADMIN_PASSWORD',
      text,
      'Password of the first super admin, 8 to 128 characters. Embedded and unset: a random one, printed once.',
    ),
  ),
  corsOrigins: setting(
    'CORS_ORIGINS',
    '',
    origins,
    'Origins of web pages that may call the API, comma-separated. Empty: same origin only.',
  ),
  trustProxy: setting(
    'TRUST_PROXY',
    'false',
    trustProxy,
    'Whose X-Forwarded-For is believed: false, a number of proxies, or their addresses and CIDR ranges.',
  ),
  rateLimitAuth: setting(
    'RATE_LIMIT_AUTH',
    '10/minute',
    rateLimit,
    'Sign-in, codes and password resets, per client address and, separately, per account; "off" to disable.',
  ),
  rateLimitInvite: setting('RATE_LIMIT_INVITE', '30/hour', rateLimit, 'Invitations sent, per user.'),
  rateLimitApi: setting('RATE_LIMIT_API', '600/minute', rateLimit, 'All other calls, per user.'),
  eventRetentionDays: setting(
    'EVENT_RETENTION_DAYS',
    '30',
    integer(1, 3650),
    'How long missed events of a list can be replayed.',
  ),
  workers: setting('WORKERS', '1', integer(1, 1), 'Processes sharing the port; this version runs one.'),
  autoMigrate: setting('AUTO_MIGRATE', 'true', boolean, 'Whether serve applies pending migrations at start.'),
  logLevel: setting(
    'LOG_LEVEL',
    'info',
    oneOf('debug', 'info', 'warn', 'error'),
    'Least severity that is logged.',
  ),
  logFormat: optional(
    'LOG_FORMAT',
    oneOf('json', 'pretty'),
    'json or pretty. Unset: pretty on a terminal, json otherwise.',
  ),
} satisfies Record<string, Setting<unknown>>

export type Config = { [K in keyof typeof settings]: ReturnType<(typeof settings)[K]['parse']> }

/**
 * Reads all settings. A variable that is set but empty counts as unset.
 * @throws ConfigError with every fault at once.
 */
export function loadConfig(environment: Record<string, string | undefined>): Config {
  const faults: string[] = []
  const read = ([key, entry]: [string, Setting<unknown>]): [string, unknown] => {
    const raw = environment[entry.variable]?.trim() || undefined
    try {
      return [key, entry.parse(raw)]
    } catch (error) {
      faults.push(`${entry.variable} ${error instanceof Error ? error.message : String(error)}`)
      return [key, null]
    }
  }
  const config = Object.fromEntries(Object.entries(settings).map(read)) as Config
  faults.push(...contradictions(config, environment))
  if (faults.length > 0) throw new ConfigError(faults)
  return config
}

function contradictions(config: Config, environment: Record<string, string | undefined>): string[] {
  const faults: string[] = []
  if (config.databaseUrl && !environment['JWT_SECRET_KEY']?.trim())
    faults.push('JWT_SECRET_KEY is required with DATABASE_URL; make one with: openssl rand -base64 48')
  if ((config.superAdminEmail === null) !== (config.superAdminPassword === null))
    faults.push('SUPER_ADMIN_EMAIL and SUPER_ADMIN_PASSWORD belong together: set both or neither')
  const password = config.superAdminPassword
  if (password !== null && ([...password].length < 8 || [...password].length > 128))
    faults.push('SUPER_ADMIN_PASSWORD must have 8 to 128 characters')
  if ((config.smtpUser === null) !== (config.smtpPassword === null))
    faults.push('SMTP_USER and SMTP_PASSWORD belong together: set both or neither')
  return faults
}
