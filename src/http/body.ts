/**
 * Reads JSON bodies of up to 1 MiB in UTF-8, declared as JSON. For every route, text is trimmed and NFC-normalised here
 * and its lines end in a bare newline, and an empty optional text is null; passwords are NFC-normalised only, since
 * their spaces count. An empty body is null: routes that need one refuse it, and those that take none refuse any other
 * (fields.ts).
 *
 * A fault is passed on as a BodyFault in place of the body, which no schema accepts: the caller is authenticated first,
 * and a stranger learns nothing about their JSON.
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
  new BodyFault(new AppError('body_too_large', `A body may have at most ${maxBodyBytes} bytes.`))

export async function readJson(request: Request): Promise<unknown> {
  if (Number(request.headers.get('content-length') ?? 0) > maxBodyBytes) return tooLarge()
  const bytes = await readBytes(request)
  if (bytes === null) return tooLarge()
  // Not undefined: the framework would then parse the body, which has been read, by itself.
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

/** `application/json` or `application/*+json`, in UTF-8; other parameters are ignored. */
function isJson(contentType: string): boolean {
  const [type = '', ...parameters] = contentType.split(';')
  return (
    jsonType.test(type.trim()) &&
    parameters.every((parameter) => !charset.test(parameter) || utf8.test(parameter))
  )
}

/** Refused in any coding: a few bytes could expand to gigabytes. */
const isCompressed = (request: Request): boolean =>
  !/^(?:identity)?$/i.test(request.headers.get('content-encoding')?.trim() ?? '')

/** Null when the body is too large. A chunked body declares no length, so its bytes are counted. */
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

/** Optional text: an empty one is none. */
const emptyIsNull: ReadonlySet<string> = new Set(['unit', 'note', 'category', 'description'])

/**
 * Bodies of this API nest three levels deep and hold lists of up to 200. Whatever goes far beyond is refused before the
 * schemas see it: they walk the whole value once for every fault in it.
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

/** @throws AppError invalid (422) for too deep a nesting, too long a list or too long a run of combining marks */
function normalise(value: unknown, path: readonly string[] = []): unknown {
  if (typeof value === 'string') {
    if (!isStreamSafe(value)) throw tooManyMarks(path)
    const text = value.normalize('NFC')
    const name = path.at(-1) ?? ''
    if (verbatim.has(name)) return text
    const trimmed = text.replaceAll('\r\n', '\n').trim()
    return trimmed === '' && emptyIsNull.has(name) ? null : trimmed
  }
  if (typeof value !== 'object' || value === null) return value
  if (path.length > maxDepth) throw invalidField(path.join('.'), 'is nested too deeply')
  if (Array.isArray(value) && value.length > maxEntries)
    throw invalidField(path.join('.'), `must not have more than ${maxEntries} entries`)
  // Changed in place: a copy would lose a key like __proto__, or worse, apply it.
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
