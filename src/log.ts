/** Structured logging: one JSON object a line, or one readable line on a terminal. Secrets never get through. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type LogFields = Record<string, unknown>

export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

export interface LogOptions {
  level: LogLevel
  format: 'json' | 'pretty'
  /** Takes one finished line with its newline. */
  write: (line: string) => void
}

const severity: Record<LogLevel, number> = { debug: 10, info: 20, warn: 30, error: 40 }
const secretName = /passw|secret|token|authorization|cookie|otp|hash|_url$/i
const tokenInText = /eyJ[\w-]+\.[\w-]+\.[\w-]+|([?&]token=)[^&\s"]+|([a-z]+:\/\/[^:/\s]*:)[^@\s]+@/g

export function createLogger({ level, format, write }: LogOptions): Logger {
  const log = (at: LogLevel, message: string, fields: LogFields = {}): void => {
    if (severity[at] < severity[level]) return
    const clean = redactFields(fields)
    const time = new Date().toISOString()
    write(
      format === 'json'
        ? `${JSON.stringify({ time, level: at, message: redactText(message), ...clean })}\n`
        : prettyLine(time, at, redactText(message), clean),
    )
  }
  return {
    debug: (message, fields) => log('debug', message, fields),
    info: (message, fields) => log('info', message, fields),
    warn: (message, fields) => log('warn', message, fields),
    error: (message, fields) => log('error', message, fields),
  }
}

/** Replaces JWTs, `?token=` values and passwords in URLs. */
export const redactText = (text: string): string =>
  text.replace(tokenInText, (_match, query?: string, userInfo?: string) =>
    query ? `${query}[redacted]` : userInfo ? `${userInfo}[redacted]@` : '[redacted]',
  )

function redactFields(fields: LogFields): LogFields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      secretName.test(name) ? '[redacted]' : redact(value),
    ]),
  )
}

function redact(value: unknown): unknown {
  if (value instanceof Error) return describeError(value)
  if (typeof value === 'string') return redactText(value)
  if (Array.isArray(value)) return value.map(redact)
  if (value !== null && typeof value === 'object')
    return redactFields(Object.fromEntries(Object.entries(value)))
  return value
}

/** The driver's own fields (query, parameters) are left out: they hold what people wrote. */
function describeError(error: Error): LogFields {
  return {
    name: error.name,
    message: redactText(error.message),
    ...('code' in error ? { code: error.code } : {}),
    ...(error.stack ? { stack: redactText(error.stack) } : {}),
    ...(error.cause instanceof Error ? { cause: describeError(error.cause) } : {}),
  }
}

const colour: Record<LogLevel, string> = {
  debug: '\x1b[90m',
  info: '\x1b[36m',
  warn: '\x1b[33m',
  error: '\x1b[31m',
}

function prettyLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(
      ([name, value]) =>
        `${name}=${typeof value === 'object' ? JSON.stringify(value) : singleLine(String(value))}`,
    )
    .join(' ')
  return `\x1b[90m${time.slice(11, 23)}\x1b[0m ${colour[level]}${level.padEnd(5)}\x1b[0m ${singleLine(message)} \x1b[90m${rest}\x1b[0m\n`
}

/** Control characters would let a value forge lines or move the cursor. */
const singleLine = (text: string): string =>
  text.replace(/\p{Cc}/gu, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`)
