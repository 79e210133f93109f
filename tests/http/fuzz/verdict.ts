/** Judges the answer to any request: never an internal error, and only what /openapi.json describes. */
import { isRecord, schemaFaults } from '../../support/json-schema.ts'
import type { RawAnswer } from '../../support/raw-http.ts'

/** Internals that must never leak. */
const leaks =
  /\$argon2|"password_hash":|node_modules|\bat \S+ \(|\bselect .+ from |SQLSTATE|epoch|store_entries/i
const wellFormedId = /^[\w.:-]{1,128}$/

/** The answer's faults. */
export function faultsOf(
  document: Record<string, unknown>,
  request: { method: string; target: string; requestId: string | undefined },
  { status, headers, body }: RawAnswer,
): string[] {
  // Bun refuses a head of over 16 KiB before there is a request.
  if (status === 431) return []
  const text = body.toString('utf8')
  const type = headers.get('content-type')?.split(';')[0]
  const id = headers.get('x-request-id')
  return [
    ...(status >= 500 ? [`status ${status}`] : []),
    ...(id === undefined || !wellFormedId.test(id) ? [`x-request-id is ${id}`] : []),
    ...(request.requestId !== undefined && wellFormedId.test(request.requestId) && id !== request.requestId
      ? ['x-request-id was not kept']
      : []),
    ...(type !== 'text/html' && leaks.test(text) && !/^\/(docs|redoc|openapi|metrics)/.test(request.target)
      ? [`leaks ${leaks.exec(text)?.[0]}`]
      : []),
    ...(request.method === 'HEAD' ? [] : contentFaults(document, request, status, type, text, headers)),
  ]
}

function contentFaults(
  document: Record<string, unknown>,
  { method, target }: { method: string; target: string },
  status: number,
  type: string | undefined,
  text: string,
  headers: Map<string, string>,
): string[] {
  const paths = isRecord(document['paths']) ? document['paths'] : {}
  // HTTP servers resolve `.` and `..`, also as %2e, before routing.
  const path = new URL(target, 'http://localhost').pathname
  const pattern = Object.keys(paths).find((candidate) => patternOf(candidate).test(path))
  const operations = pattern === undefined ? undefined : paths[pattern]
  const operation = isRecord(operations) ? operations[method.toLowerCase()] : undefined
  if (!isRecord(operation)) {
    if (status === 405 && !headers.has('allow')) return ['405 without Allow']
    return status < 400 || type === 'application/problem+json' ? [] : [`${status} is ${type}`]
  }
  const responses = isRecord(operation['responses']) ? operation['responses'] : {}
  const response = responses[String(status)]
  if (!isRecord(response)) return [`${status} is not documented for ${method} ${pattern}`]
  const content = isRecord(response['content']) ? response['content'] : undefined
  if (content === undefined || Object.keys(content).length === 0)
    return text === '' ? [] : [`${status} has a body`]
  const media = type === undefined ? undefined : content[type]
  if (!isRecord(media)) return [`${status} has the media type ${type}, not ${Object.keys(content).join()}`]
  if (!type?.endsWith('json')) return []
  const value: unknown = JSON.parse(text)
  if (isRecord(value) && status >= 400 && type === 'application/problem+json' && value['status'] !== status)
    return [`the problem says status ${value['status']}`]
  return schemaFaults(value, media['schema'], document)
}

const patternOf = (path: string): RegExp => new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}/?$`)
