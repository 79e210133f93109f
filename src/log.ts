/** Structured logging: JSON lines, or readable lines on a terminal. Secrets are redacted. */
import { AppError } from './errors.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type LogFields = Record<string, unknown>

export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

/**
 * For lines that strangers can cause as many of as they like.
 * @param report called at the end of each second that left some out
 * @returns a function to call before each, which says whether it is to be logged: the first `perSecond` of a second
 */
export function createSampler(perSecond: number, report: (leftOut: number) => void): () => boolean {
  let asked = 0
  const endSecond = (): void => {
    const leftOut = asked - perSecond
    asked = 0
    if (leftOut > 0) report(leftOut)
  }
  return () => {
    if (asked === 0) setTimeout(endSecond, 1000).unref()
    asked++
    return asked <= perSecond
  }
}

export interface LogOptions {
  level: LogLevel
  format: 'json' | 'pretty'
  /** Receives one line, newline included. */
  write: (line: string) => void
}

const severity: Record<LogLevel, number> = { debug: 10, info: 20, warn: 30, error: 40 }
const secretName = /passw|secret|token|authorization|cookie|otp|hash|_url$/i
/** A password in a URL extends to the last @, for it may contain one itself. */
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
 * Drivers' own fields (query, parameters) are left out: they hold user data. So are the stacks of expected errors and
 * their causes: the codes say enough, and an outage logs many a second.
 */
function describeError(error: Error, isResultExpected = false): LogFields {
  const isExpected = isResultExpected || (error instanceof AppError && error.code !== 'internal_error')
  return {
    name: error.name,
    message: redactText(error.message),
    ...('code' in error ? { code: error.code } : {}),
    ...(!isExpected && hasFrames(error) ? { stack: redactText(error.stack) } : {}),
    ...(error.cause instanceof Error ? { cause: describeError(error.cause, isExpected) } : {}),
  }
}

/** Drivers append to the stacks of errors; one that had none then starts with the word "undefined". */
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

/** Anything more than a word is quoted, or it could pass for another field. */
const isOneWord = (value: unknown): boolean => typeof value !== 'object' && !/[\s"=]/.test(String(value))

/**
 * Control characters and bidirectional overrides would let a value forge lines, move the terminal's cursor or display
 * other text than it holds. They are escaped as in JSON; in the output of JSON.stringify, those left are all inside
 * strings.
 */
const visible = (text: string): string =>
  text.replace(
    /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
