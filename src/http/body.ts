/**
 * Reads JSON bodies: at most 1 MiB, UTF-8, declared as JSON. Text is trimmed and NFC-normalised here, once, for
 * every route; passwords are normalised only, for their blanks count.
 *
 * A fault is handed on as a BodyFault in place of the body, not thrown: who may call a route is decided first, and
 * a stranger learns nothing about his JSON.
 */
import { AppError, invalidField } from '../errors.ts'

export const maxBodyBytes = 1024 * 1024

export class BodyFault {
  constructor(readonly error: AppError) {}
}

const jsonType = /^application\/(?:[\w.-]+\+)?json\s*(?:;\s*charset\s*=\s*"?utf-?8"?\s*)?(?:;|$)/i

const tooLarge = () =>
  new BodyFault(new AppError('body_too_large', `A body may have up to ${maxBodyBytes} bytes.`))

export async function readJson(request: Request): Promise<unknown> {
  if (Number(request.headers.get('content-length') ?? 0) > maxBodyBytes) return tooLarge()
  const bytes = await readBytes(request)
  if (bytes === null) return tooLarge()
  const type = request.headers.get('content-type')
  if (type === null ? bytes.length > 0 : !jsonType.test(type))
    return new BodyFault(
      new AppError('not_json', 'Send a JSON body in UTF-8 with Content-Type: application/json.'),
    )
  const body = parse(bytes)
  if (body === undefined)
    return new BodyFault(new AppError('malformed_json', 'The body is not well-formed JSON in UTF-8.'))
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    return new BodyFault(invalidField('body', 'must be a JSON object'))
  return normalise(body)
}

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

/** Bodies of this API nest three levels deep; what lies deeper is refused by the schemas and need not be walked. */
const maxDepth = 4

function normalise(value: unknown, key = '', depth = 0): unknown {
  if (typeof value === 'string') {
    const text = value.normalize('NFC')
    return verbatim.has(key) ? text : text.trim()
  }
  if (typeof value !== 'object' || value === null || depth === maxDepth) return value
  // Written in place: copying would lose, or worse honour, a key like __proto__.
  for (const [name, inner] of Object.entries(value)) {
    const clean = normalise(inner, name, depth + 1)
    if (clean !== inner)
      Object.defineProperty(value, name, { value: clean, enumerable: true, writable: true })
  }
  return value
}
