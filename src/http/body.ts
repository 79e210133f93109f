/**
 * Reads JSON bodies of up to 1 MiB in UTF-8, declared as JSON. For every route, text is trimmed and NFC-normalised here
 * and its lines end in a bare newline, and an empty optional text is null; passwords are NFC-normalised only, since
 * their spaces count. An empty body is null: routes that need one refuse it, and those that take none refuse any other
 * (fields.ts).
 *
 * A fault is passed on as a BodyFault in place of the body, which no schema accepts: the caller is authenticated first,
 * and a stranger learns nothing about their JSON.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { AppError, invalidField } from '../errors.ts'
import { isStreamSafe, maxCombiningMarks } from '../lib/unicode.ts'
import { outlineOf } from './json-outline.ts'

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
  const outline = outlineOf(bytes)
  if (outline === 'too deep') return new BodyFault(invalidField('body', 'is nested too deeply'))
  if (outline === 'too much') return new BodyFault(invalidField('body', 'holds too many values'))
  const body = outline === 'malformed' ? undefined : parse(bytes)
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

/** What is larger is refused before the schemas see it: they walk the whole value once for every fault in it. */
const maxEntries = 1000
const maxFields = 100
/** In UTF-16 units; no field takes as much. */
const maxTextLength = 16_384
/** A body of nothing but accents takes 50 ms to normalise: others get their turn each time so much is done. */
const unitsPerTurn = 65_536

async function cleaned(body: object): Promise<unknown> {
  try {
    await normalise(body)
    return body
  } catch (error) {
    if (error instanceof AppError) return new BodyFault(error)
    throw error
  }
}

/** A value in a body, and where it stands. */
interface Place {
  holder: object
  name: string
  value: unknown
  within: Place | null
}

/** Last first, as they are taken from the end. @throws AppError invalid */
function placesIn(holder: object, within: Place | null): Place[] {
  if (Array.isArray(holder) && holder.length > maxEntries)
    throw invalidField(pathOf(within), `must not have more than ${maxEntries} entries`)
  const entries = Object.entries(holder)
  if (!Array.isArray(holder) && entries.length > maxFields)
    throw invalidField(pathOf(within), `must not have more than ${maxFields} fields`)
  return entries.map(([name, value]) => ({ holder, name, value, within })).reverse()
}

/** @throws AppError invalid (422) for what is too large, too long, or has too long a run of combining marks */
async function normalise(body: object): Promise<void> {
  const open = placesIn(body, null)
  let units = 0
  for (let place = open.pop(); place; place = open.pop()) {
    const { holder, name, value, within } = place
    const text = typeof value === 'string' ? value : ''
    units += name.length + text.length
    if (units > unitsPerTurn) {
      units = 0
      await nextTurn()
    }
    checkText(name, within)
    if (typeof value === 'string') {
      checkText(value, place)
      const clean = cleanText(name, value)
      // Changed in place: a copy would lose a key like __proto__, or worse, apply it.
      if (clean !== value)
        Object.defineProperty(holder, name, { value: clean, enumerable: true, writable: true })
    } else if (typeof value === 'object' && value !== null) {
      open.push(...placesIn(value, place))
    }
  }
}

function cleanText(name: string, value: string): string | null {
  const text = value.normalize('NFC')
  if (verbatim.has(name)) return text
  const trimmed = text.replaceAll('\r\n', '\n').trim()
  return trimmed === '' && emptyIsNull.has(name) ? null : trimmed
}

/** @param place of a value; of a key, what holds it */
function checkText(text: string, place: Place | null): void {
  if (!isStreamSafe(text.slice(0, maxTextLength)))
    throw invalidField(pathOf(place), `must not have more than ${maxCombiningMarks} combining marks in a row`)
  if (text.length > maxTextLength)
    throw invalidField(pathOf(place), `must not be longer than ${maxTextLength} characters`)
}

function pathOf(place: Place | null): string {
  const path: string[] = []
  for (let at = place; at; at = at.within) path.unshift(at.name)
  return path.join('.') || 'body'
}
