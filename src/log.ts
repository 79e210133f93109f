/** Structured logging: one JSON object a line, or one readable line on a terminal. Secrets never get through. */
import { AppError } from './errors.ts'

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
/** A password in an address goes on to its last @, for it may hold one itself. */
const tokenInText = /eyJ[\w-]+\.[\w-]+\.[\w-]+|([?&]token=)[^&\s"]+|(\b[a-z]+:\/\/[^:/\s]*:)[^\s"]+@/gi

export function createLogger({ level, format, write }: LogOptions): Logger {
  const log = (at: LogLevel, message: string, fields: LogFields = {}): void => {
    if (severity[at] < severity[level]) return
    const clean = redactFields(fields)
    const time = new Date().toISOString()
    write(
      format === 'json'
        ? `${visible(JSON.stringify({ time, level: at, message: redactText(message), ...clean }))}\n`
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

/**
 * The driver's own fields (query, parameters) are left out: they hold what people wrote. So is the stack of what is
 * expected to happen, and of its causes: the codes say all, and an outage makes many such lines a second.
 */
function describeError(error: Error, isEffectExpected = false): LogFields {
  const isExpected = isEffectExpected || (error instanceof AppError && error.code !== 'internal_error')
  return {
    name: error.name,
    message: redactText(error.message),
    ...('code' in error ? { code: error.code } : {}),
    ...(!isExpected && hasFrames(error) ? { stack: redactText(error.stack) } : {}),
    ...(error.cause instanceof Error ? { cause: describeError(error.cause, isExpected) } : {}),
  }
}

/** The drivers append to the stack of errors that have none, and make it the word "undefined". */
const hasFrames = (error: Error): error is Error & { stack: string } => /^ +at /m.test(error.stack ?? '')

const colour: Record<LogLevel, string> = {
  debug: '\x1b[90m',
  info: '\x1b[36m',
  warn: '\x1b[33m',
  error: '\x1b[31m',
}

function prettyLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => `${name}=${visible(isOneWord(value) ? String(value) : JSON.stringify(value))}`)
    .join(' ')
  return `\x1b[90m${time.slice(11, 23)}\x1b[0m ${colour[level]}${level.padEnd(5)}\x1b[0m ${visible(message)} \x1b[90m${rest}\x1b[0m\n`
}

/** What is more than a word is quoted, or it could pass for another field. */
const isOneWord = (value: unknown): boolean => typeof value !== 'object' && !/[\s"=]/.test(String(value))

/**
 * Control characters and what turns the direction of text would let a value forge lines, move a terminal's cursor or
 * show another text than it holds. They are written as JSON writes them; what JSON.stringify made has only those
 * left that it lets through, all of them inside of strings.
 */
const visible = (text: string): string =>
  text.replace(
    /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
