/**
 * Every setting of the service: its variable, type, default and description in one table. Nothing else reads
 * the environment. All faults are reported together, each with the variable's name.
 */
import { resolve } from 'node:path'
import { OperatorError } from '../errors.ts'
import { observabilitySettings } from './observability.ts'
import {
  boolean,
  email,
  integer,
  list,
  oneOf,
  optional,
  origins,
  rateLimit,
  redisServer,
  type Setting,
  secret,
  sender,
  setting,
  signingKey,
  text,
  trustProxy,
  url,
} from './setting.ts'

export type { RateLimit, TrustProxy } from './setting.ts'

export class ConfigError extends OperatorError {
  override readonly name = 'ConfigError'
  constructor(readonly faults: readonly string[]) {
    super(`The settings need attention:\n${faults.map((fault) => `  ${fault}`).join('\n')}`)
  }
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
      redisServer,
      'Redis for sessions, limits and the bridge between instances. Unset: one instance, state kept in the database.',
    ),
  ),
  dataDir: setting(
    'DATA_DIR',
    './minimart-data',
    // Made absolute, for messages and for systems that take "./" badly.
    (raw) => resolve(raw),
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
      'Earlier keys, comma-separated (so without commas themselves), still accepted while you rotate.',
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
  emailFrom: setting('EMAIL_FROM', 'MiniMart <no-reply@minimart.local>', sender, 'Sender of all mails.'),
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
    'Sign-in, codes and password resets, per client address (an IPv6 client counts with its /64) and, separately, per account; "off" to disable.',
  ),
  rateLimitInvite: setting('RATE_LIMIT_INVITE', '30/hour', rateLimit, 'Invitations sent, per user.'),
  rateLimitApi: setting('RATE_LIMIT_API', '600/minute', rateLimit, 'All other calls, per user.'),
  eventRetentionDays: setting(
    'EVENT_RETENTION_DAYS',
    '30',
    integer(1, 3650),
    'How long missed events of a list can be replayed.',
  ),
  auditRetentionDays: setting(
    'AUDIT_RETENTION_DAYS',
    '365',
    integer(1, 3650),
    'How long entries of the audit trail are kept.',
  ),
  workers: setting(
    'WORKERS',
    '1',
    integer(1, 64),
    'Processes sharing the port; over 1 it needs DATABASE_URL and REDIS_URL.',
  ),
  autoMigrate: setting('AUTO_MIGRATE', 'true', boolean, 'Whether serve applies pending migrations at start.'),
  shutdownDelayMs: optional(
    'SHUTDOWN_DELAY_MS',
    integer(0, 4000),
    'How long SIGTERM leaves everything running while /readyz says 503 and answers end their connections, so that balancers and clients turn away. Unset: 1000 with DATABASE_URL, else 250.',
  ),
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
  ...observabilitySettings,
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
  const isSet = (variable: string): boolean => Boolean(environment[variable]?.trim())
  if (config.databaseUrl && !isSet('JWT_SECRET_KEY'))
    faults.push('JWT_SECRET_KEY is required with DATABASE_URL; make one with: openssl rand -base64 48')
  if (isSet('SUPER_ADMIN_EMAIL') !== isSet('SUPER_ADMIN_PASSWORD'))
    faults.push('SUPER_ADMIN_EMAIL and SUPER_ADMIN_PASSWORD belong together: set both or neither')
  if (config.workers > 1 && !(config.databaseUrl && config.redisUrl))
    faults.push('WORKERS over 1 needs DATABASE_URL and REDIS_URL: the workers share nothing else')
  if (config.metricsPort === config.port && config.port > 0)
    faults.push('METRICS_PORT must not be PORT: leave it unset to have /metrics there')
  if (isSet('METRICS_HOST') && !isSet('METRICS_PORT'))
    faults.push('METRICS_HOST is for METRICS_PORT: set both, or METRICS_PORT alone')
  const password = config.superAdminPassword
  if (password !== null && ([...password].length < 8 || [...password].length > 128))
    faults.push('SUPER_ADMIN_PASSWORD must have 8 to 128 characters')
  if (isSet('SMTP_USER') !== isSet('SMTP_PASSWORD'))
    faults.push('SMTP_USER and SMTP_PASSWORD belong together: set both or neither')
  return faults
}
