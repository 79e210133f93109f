/**
 * Every setting of the service: its variable, default, type and description in one table. Nothing else reads the
 * environment.
 */
import { resolve } from 'node:path'
import { OperatorError } from '../errors.ts'
import { observabilitySettings } from './observability.ts'
import { parseSender } from './sender.ts'
import {
  boolean,
  email,
  integer,
  list,
  newPassword,
  oneOf,
  optional,
  origins,
  orOff,
  rateLimit,
  redisServer,
  type Setting,
  secret,
  setting,
  signingKey,
  text,
  trustProxy,
  url,
  verbatim,
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
      'Redis, for sessions, rate limits and live events between instances, redis://host:6379. Unset: one instance, which keeps these in the database.',
    ),
  ),
  dataDir: setting(
    'DATA_DIR',
    './minimart-data',
    // Absolute, so that messages name the full path.
    (raw) => resolve(raw),
    'Data directory: the embedded database, the generated signing key and the mail outbox.',
  ),
  host: setting('HOST', '127.0.0.1', text, 'Address to listen on; 0.0.0.0 for all interfaces.'),
  port: setting('PORT', '8000', integer(0, 65_535), 'Port to listen on; 0 picks a free one.'),
  publicUrl: optional(
    'PUBLIC_URL',
    (raw) => url('http:', 'https:')(raw).replace(/\/+$/, ''),
    'URL at which people reach the service; links in mail begin with it. Unset: http://HOST:PORT.',
  ),
  jwtSecretKey: secret(
    optional(
      'JWT_SECRET_KEY',
      signingKey,
      'Key that signs tokens, at least 32 bytes. Required with DATABASE_URL. Embedded and unset: generated and kept in DATA_DIR.',
    ),
  ),
  jwtPreviousSecretKeys: secret(
    setting(
      'JWT_PREVIOUS_SECRET_KEYS',
      '',
      (raw) => list(raw).map(signingKey),
      'Former signing keys that are still accepted during rotation, comma-separated; a key must not contain a comma.',
    ),
  ),
  accessTokenTtlMinutes: setting(
    'ACCESS_TOKEN_TTL_MINUTES',
    '15',
    integer(1, 1440),
    'Lifetime of an access token, in minutes.',
  ),
  refreshTokenTtlDays: setting(
    'REFRESH_TOKEN_TTL_DAYS',
    '7',
    integer(1, 365),
    'Lifetime of an unused refresh token, in days.',
  ),
  otpTtlMinutes: setting(
    'OTP_TTL_MINUTES',
    '10',
    integer(1, 1440),
    'Lifetime of a mailed one-time code, in minutes.',
  ),
  invitationTtlHours: setting(
    'INVITATION_TTL_HOURS',
    '72',
    integer(1, 8760),
    'Lifetime of an invitation, in hours.',
  ),
  smtpHost: optional(
    'SMTP_HOST',
    text,
    'Mail server. Unset: mail is written as .eml files to DATA_DIR/outbox.',
  ),
  smtpPort: setting('SMTP_PORT', '587', integer(1, 65_535), 'Port of the mail server.'),
  smtpUser: optional('SMTP_USER', text, 'User name at the mail server, if it requires one.'),
  smtpPassword: secret(optional('SMTP_PASSWORD', text, 'Password at the mail server.')),
  smtpSecure: setting(
    'SMTP_SECURE',
    'auto',
    oneOf('auto', 'tls', 'starttls', 'none'),
    'auto: TLS on port 465, elsewhere STARTTLS if offered; tls: TLS from the start; starttls: STARTTLS required; none: plain text.',
  ),
  emailFrom: setting('EMAIL_FROM', 'MiniMart <no-reply@minimart.local>', parseSender, 'Sender of all mail.'),
  superAdminEmail: optional(
    'SUPER_ADMIN_EMAIL',
    email,
    'E-mail address of the first super admin, created at start if there is none. Embedded and unset: admin@minimart.local.',
  ),
  superAdminPassword: secret(
    verbatim(
      optional(
        'SUPER_ADMIN_PASSWORD',
        newPassword,
        'Password of the first super admin, 8 to 128 characters; blanks around it count. Embedded and unset: generated, and printed once.',
      ),
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
    'Proxies whose X-Forwarded-For is trusted: false, their number, or their addresses and CIDR ranges, comma-separated.',
  ),
  rateLimitAuth: setting(
    'RATE_LIMIT_AUTH',
    '10/minute',
    rateLimit,
    'Limit on sign-in, codes and password resets, per client address (IPv6: per /64, four times that per /56 and 16 times per /48) and, separately, per account; off disables it.',
  ),
  rateLimitInvite: setting(
    'RATE_LIMIT_INVITE',
    '30/hour',
    rateLimit,
    'Limit on invitations, per user; off disables it.',
  ),
  rateLimitApi: setting(
    'RATE_LIMIT_API',
    '600/minute',
    rateLimit,
    'Limit on all other calls, per user; off disables it.',
  ),
  rateLimitOpen: setting(
    'RATE_LIMIT_OPEN',
    '300/minute',
    rateLimit,
    'Limit on previews, refreshes and calls to addresses that do not exist, per client address as RATE_LIMIT_AUTH and per process; off disables it.',
  ),
  rateLimitMail: setting(
    'RATE_LIMIT_MAIL',
    '20/day',
    rateLimit,
    'Limit on mails of all kinds to one address, beside at most 5 an hour; past it nothing is sent, and no answer tells. off disables both.',
  ),
  rateLimitTenantMail: setting(
    'RATE_LIMIT_TENANT_MAIL',
    '200/hour',
    rateLimit,
    'Limit on mails to addresses that are not verified, per tenant whose members cause them; off disables it.',
  ),
  eventRetentionDays: setting(
    'EVENT_RETENTION_DAYS',
    '30',
    integer(1, 3650),
    'Days for which missed events of a list can be replayed.',
  ),
  tenantMaxLists: setting(
    'TENANT_MAX_LISTS',
    '10000',
    orOff(integer(1, 100_000_000)),
    'Lists that a tenant may keep, deleted ones included; off for no limit.',
  ),
  tenantMaxMb: setting(
    'TENANT_MAX_MB',
    '2048',
    orOff(integer(1, 100_000_000)),
    'Text of lists, items and events that a tenant may keep, in MiB, counted in the background within a minute; off for no limit.',
  ),
  auditRetentionDays: setting(
    'AUDIT_RETENTION_DAYS',
    '365',
    integer(1, 3650),
    'Days for which entries of the audit log are kept.',
  ),
  auditRefusalsRetentionDays: setting(
    'AUDIT_REFUSALS_RETENTION_DAYS',
    '30',
    integer(1, 3650),
    'Days for which refused attempts to sign in, verify or reset are kept in the audit log, AUDIT_RETENTION_DAYS at most.',
  ),
  workers: setting(
    'WORKERS',
    '1',
    integer(1, 64),
    'Number of processes that share the port; above 1 requires DATABASE_URL and REDIS_URL.',
  ),
  autoMigrate: setting('AUTO_MIGRATE', 'true', boolean, 'Whether serve applies pending migrations at start.'),
  shutdownDelayMs: optional(
    'SHUTDOWN_DELAY_MS',
    integer(0, 4000),
    'Milliseconds from SIGTERM to the shutdown, during which it still serves, but /readyz answers 503 and responses close their connections, so that traffic moves elsewhere. Unset: 1000 with DATABASE_URL, else 250.',
  ),
  logLevel: setting(
    'LOG_LEVEL',
    'info',
    oneOf('debug', 'info', 'warn', 'error'),
    'Lowest severity to log: debug, info, warn or error.',
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
 * @throws ConfigError naming every fault
 */
export function loadConfig(environment: Record<string, string | undefined>): Config {
  const faults: string[] = []
  const read = ([key, entry]: [string, Setting<unknown>]): [string, unknown] => {
    const value = environment[entry.variable]
    const raw = (entry.verbatim ? value : value?.trim()) || undefined
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
    faults.push('JWT_SECRET_KEY is required with DATABASE_URL; generate one with: openssl rand -base64 48')
  if (isSet('SUPER_ADMIN_EMAIL') !== Boolean(environment['SUPER_ADMIN_PASSWORD']))
    faults.push('SUPER_ADMIN_EMAIL and SUPER_ADMIN_PASSWORD belong together: set both or neither')
  if (config.workers > 1 && !(config.databaseUrl && config.redisUrl))
    faults.push('WORKERS above 1 requires DATABASE_URL and REDIS_URL, through which the workers share state')
  if (config.metricsPort === config.port && config.port > 0)
    faults.push('METRICS_PORT must differ from PORT; leave it unset to serve /metrics on PORT')
  if (isSet('METRICS_HOST') && !isSet('METRICS_PORT'))
    faults.push('METRICS_HOST requires METRICS_PORT: set both, or METRICS_PORT alone')
  if (isSet('SMTP_USER') !== isSet('SMTP_PASSWORD'))
    faults.push('SMTP_USER and SMTP_PASSWORD belong together: set both or neither')
  return faults
}
