/** An API client that checks every response against the API's document. */
import { expect } from 'bun:test'
import { createDocumentedApp } from '../../src/app.ts'
import { openapiDocument } from '../../src/http/docs/openapi.ts'
import { isRecord, schemaFaults } from './json-schema.ts'

export interface Answer {
  status: number
  headers: Headers
  /** The body as received. */
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape, and the document checks them.
  body: any
}

export interface CallOptions {
  headers?: Record<string, string>
  token?: string
}

export interface Client {
  get(path: string, options?: CallOptions): Promise<Answer>
  post(path: string, body?: unknown, options?: CallOptions): Promise<Answer>
  patch(path: string, body?: unknown, options?: CallOptions): Promise<Answer>
  delete(path: string, options?: CallOptions): Promise<Answer>
}

/** @param path below /api/v1, like `/auth/me` */
export function createClient(url: string, token?: string): Client {
  const call = async (
    method: string,
    path: string,
    body: unknown,
    options: CallOptions = {},
  ): Promise<Answer> => {
    const bearer = options.token ?? token
    const response = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: {
        ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...options.headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return readAnswer(method, path, response)
  }
  return {
    get: (path, options) => call('GET', path, undefined, options),
    post: (path, body, options) => call('POST', path, body, options),
    patch: (path, body, options) => call('PATCH', path, body, options),
    delete: (path, options) => call('DELETE', path, undefined, options),
  }
}

/** Reads a response and checks it against the API's document: status, media type and every field. */
export async function readAnswer(method: string, path: string, response: Response): Promise<Answer> {
  const text = await response.text()
  const body: unknown = text === '' ? null : JSON.parse(text)
  const answer = { status: response.status, headers: response.headers, text, body }
  expect(response.headers.get('x-request-id')).not.toBeNull()
  expectDocumented(method, path.split('?')[0] ?? '', answer)
  return answer
}

interface Operation {
  name: string
  matches: RegExp
  responses: Record<string, unknown>
}

const document: Record<string, unknown> = { ...(await openapiDocument(createDocumentedApp())) }
const operations = operationsOf(document)

function expectDocumented(method: string, path: string, { status, body }: Answer): void {
  const operation = operations[method]?.find(({ matches }) => matches.test(`/api/v1${path}`))
  if (operation === undefined) return
  const response = operation.responses[String(status)]
  if (!isRecord(response))
    throw new Error(`${operation.name} answered ${status}, which is not documented: ${JSON.stringify(body)}`)
  const content = isRecord(response['content']) ? Object.values(response['content'])[0] : undefined
  const schema = isRecord(content) ? content['schema'] : undefined
  if (schema === undefined) expect(body).toBeNull()
  else expect(schemaFaults(body, schema, document)).toEqual([])
}

/** By method, paths with the fewest parameters first. */
function operationsOf({ paths }: Record<string, unknown>): Record<string, Operation[]> {
  const all = Object.entries(isRecord(paths) ? paths : {})
    .toSorted(([a], [b]) => a.split('{').length - b.split('{').length)
    .flatMap(([path, item]) =>
      Object.entries(isRecord(item) ? item : {}).map(([method, operation]) => ({
        method: method.toUpperCase(),
        name: `${method.toUpperCase()} ${path}`,
        matches: new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}$`),
        responses: isRecord(operation) && isRecord(operation['responses']) ? operation['responses'] : null,
      })),
    )
    .flatMap(({ responses, ...operation }) => (responses === null ? [] : [{ ...operation, responses }]))
  return Object.groupBy(all, ({ method }) => method) as Record<string, Operation[]>
}
