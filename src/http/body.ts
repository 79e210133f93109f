/**
 * Reads JSON bodies: at most 1 MiB, UTF-8, declared as JSON. Text is trimmed and NFC-normalised here, once, for
 * every route, and its lines end in a newline alone; passwords are NFC-normalised only, for their blanks count.
 * No body at all is none: routes that need one refuse it, and those that take none refuse any other (fields.ts).
 *
 * A fault is handed on as a BodyFault in place of the body, which no schema takes: who may call a route is decided
 * first, and a stranger learns nothing about his JSON.
 */
import { AppError, invalidField } from '../errors.ts'
import { isStreamSafe, maxCombiningMarks } from '../lib/unicode.ts'

export const maxBodyBytes = 1024 * 1024

export class BodyFault {
  constructor(readonly error: AppError) {}
}

const jsonType = /^application\/(?:[\w.-]+\+)?json$/i
const charset = /^\s*charset\s*=/i
const utf8 = /^\s*charset\s*=\s*"?utf-?8"?\s*$/i

const tooLarge = () =>
  new BodyFault(new AppError('body_too_large', `A body may have up to ${maxBodyBytes} bytes.`))

export async function readJson(request: Request): Promise<unknown> {
  if (Number(request.headers.get('content-length') ?? 0) > maxBodyBytes) return tooLarge()
  const bytes = await readBytes(request)
  if (bytes === null) return tooLarge()
  // Not undefined, which would have the framework parse the spent body itself.
  if (bytes.length === 0) return null
  if (!isJson(request.headers.get('content-type') ?? '') || isCompressed(request))
    return new BodyFault(
      new AppError(
        'not_json',
        'Send a JSON body in UTF-8, not compressed, with Content-Type: application/json.',
      ),
    )
  const body = parse(bytes)
  if (body === undefined)
    return new BodyFault(new AppError('malformed_json', 'The body is not well-formed JSON in UTF-8.'))
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    return new BodyFault(invalidField('body', 'must be a JSON object'))
  return cleaned(body)
}

/** `application/json` and its kin, in UTF-8; other parameters mean nothing here. */
function isJson(contentType: string): boolean {
  const [type = '', ...parameters] = contentType.split(';')
  return (
    jsonType.test(type.trim()) &&
    parameters.every((parameter) => !charset.test(parameter) || utf8.test(parameter))
  )
}

/** Refused, whatever the coding: a few bytes of it could become gigabytes here. */
const isCompressed = (request: Request): boolean =>
  !/^(?:identity)?$/i.test(request.headers.get('content-encoding')?.trim() ?? '')

/** Null when there is more than a body may have. A chunked body has no length to go by, so it is counted. */
async function readBytes(request: Request): Promise<Uint8Array | null> {
  if (request.headers.has('content-length')) return new Uint8Array(await request.arrayBuffer())
  const parts: Uint8Array[] = []
  let length = 0
  for await (const part of request.body ?? []) {
    length += part.length
    if (length > maxBodyBytes) return null
    parts.push(part)
  }
  return Buffer.concat(parts)
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return undefined
  }
}

const verbatim: ReadonlySet<string> = new Set(['password', 'current_password', 'new_password'])

/**
 * Bodies of this API nest three levels deep and hold lists of up to 200. What goes far beyond is refused before the
 * schemas see it: they walk all of a value once for every fault in it.
 */
const maxDepth = 8
const maxEntries = 1000

function cleaned(body: object): unknown {
  try {
    return normalise(body)
  } catch (error) {
    if (error instanceof AppError) return new BodyFault(error)
    throw error
  }
}

/** @throws AppError invalid (422) for what nests too deep, is too long a list or has too long a run of marks */
function normalise(value: unknown, path: readonly string[] = []): unknown {
  if (typeof value === 'string') {
    if (!isStreamSafe(value)) throw tooManyMarks(path)
    const text = value.normalize('NFC')
    return verbatim.has(path.at(-1) ?? '') ? text : text.replaceAll('\r\n', '\n').trim()
  }
  if (typeof value !== 'object' || value === null) return value
  if (path.length > maxDepth) throw invalidField(path.join('.'), 'is nested too deep')
  if (Array.isArray(value) && value.length > maxEntries)
    throw invalidField(path.join('.'), `must not have more than ${maxEntries} entries`)
  // Written in place: copying would lose, or worse honour, a key like __proto__.
  for (const [name, inner] of Object.entries(value)) {
    if (!isStreamSafe(name)) throw tooManyMarks(path)
    const clean = normalise(inner, [...path, name])
    if (clean !== inner)
      Object.defineProperty(value, name, { value: clean, enumerable: true, writable: true })
  }
  return value
}

const tooManyMarks = (path: readonly string[]): AppError =>
  invalidField(
    path.join('.') || 'body',
    `must not have more than ${maxCombiningMarks} combining marks in a row`,
  )
