/**
 * How a route states its schemas and describes itself; the description becomes its part of /openapi.json. Nothing here
 * runs per request, and what it says about answers validates nothing.
 */
import type { DocumentDecoration, TSchema } from 'elysia'
import { type ErrorCode, statusOfCode } from '../../errors.ts'
import { meaningOfCode, problemExample } from '../problem-examples.ts'

export interface Answer {
  status: number
  description: string
  /** A schema with a `$id` becomes a named component. Left out: an answer without a body. */
  schema?: TSchema
  /** Default: made from the schema. */
  example?: unknown
  /** Descriptions of response headers, by name. ETag is added where the schema has a `version`. */
  headers?: Record<string, string>
  /** Default application/json. */
  mediaType?: string
}

export interface OperationOptions {
  summary: string
  /** Markdown. */
  description?: string
  tag: string
  /** The operationId, unique over the document. */
  id: string
  /** Needs no bearer token. Left out, the 401 answers are documented. */
  public?: boolean
  /** An example of the body. Default: made from the route's `body` schema. */
  request?: unknown
  /** Needs neither rate limit nor database, like a liveness check: adds no errors of its own. */
  selfContained?: boolean
  ok: Answer
  alsoOk?: Answer[]
  /**
   * Errors beyond those of every route of its kind: `redis_unavailable` where it uses the store before it answers.
   * `version_mismatch` documents If-Match, `idempotency_conflict` Idempotency-Key.
   */
  errors?: ErrorCode[]
}

/** `finishDocument` takes it out again: the plugin builds the request body itself. */
export const requestExampleKey = 'x-request-example'

/** `invalid` for a repeated query parameter. */
const signInErrors: ErrorCode[] = [
  'token_missing',
  'token_invalid',
  'token_expired',
  'token_revoked',
  'invalid',
]
const bodyErrors: ErrorCode[] = ['malformed_json', 'body_too_large', 'not_json', 'invalid']
const databaseErrors: ErrorCode[] = ['busy', 'database_unavailable']

/** Sent with every answer that counted against a limit; described in the document's components. */
export const rateLimitHeaderNames = [
  'RateLimit',
  'RateLimit-Policy',
  'RateLimit-Limit',
  'RateLimit-Remaining',
  'RateLimit-Reset',
] as const
const rateLimitHeaders = Object.fromEntries(
  rateLimitHeaderNames.map((name) => [name, { $ref: `#/components/headers/${name}` }]),
)

interface RouteSchemas {
  params?: TSchema
  query?: TSchema
  /** `NoBody` where a route takes none: it then refuses any but an empty one. */
  body?: TSchema
}

/** What a route is registered with: its schemas, and its part of the API document. */
export const operation = <Schemas extends RouteSchemas>(
  schemas: Schemas,
  options: OperationOptions,
): Schemas & { detail: DocumentDecoration } => ({
  ...schemas,
  detail: documented(options, schemas.body !== undefined),
})

function documented(o: OperationOptions, hasBody: boolean): DocumentDecoration {
  const limited = !o.selfContained
  const errors: ErrorCode[] = [
    'malformed_request',
    ...(o.public ? [] : signInErrors),
    ...(hasBody ? bodyErrors : []),
    ...(o.errors ?? []),
    ...(limited ? ['rate_limited' as const] : []),
    ...(o.selfContained ? [] : databaseErrors),
  ]
  return {
    summary: o.summary,
    ...(o.description === undefined ? {} : { description: o.description }),
    tags: [o.tag],
    operationId: o.id,
    security: o.public ? [] : [{ bearerAuth: [] }],
    responses: Object.fromEntries([
      ...[o.ok, ...(o.alsoOk ?? [])].map((answer) => [answer.status, answerObject(answer, limited)]),
      ...errorResponses(errors),
    ]),
    ...(o.request === undefined ? {} : { [requestExampleKey]: o.request }),
  }
}

function answerObject(answer: Answer, limited: boolean): object {
  const texts = { ...(hasVersion(answer.schema) ? { ETag: versionTag } : {}), ...answer.headers }
  const named = Object.entries(texts).map(([name, description]) => [
    name,
    { description, schema: { type: 'string' } },
  ])
  const headers = { ...(limited ? rateLimitHeaders : {}), ...Object.fromEntries(named) }
  return {
    description: answer.description,
    ...(Object.keys(headers).length > 0 ? { headers } : {}),
    ...(answer.schema === undefined
      ? {}
      : {
          content: {
            [answer.mediaType ?? 'application/json']: {
              schema: answer.schema,
              ...(answer.example === undefined ? {} : { example: answer.example }),
            },
          },
        }),
  }
}

const versionTag = 'The version in quotes, like `"3"`; send it back as `If-Match`.'

function hasVersion(schema: TSchema | undefined): boolean {
  if (schema === undefined) return false
  const { properties } = schema
  return typeof properties === 'object' && properties !== null && 'version' in properties
}

/** One response per status, with one example per code. */
function errorResponses(codes: readonly ErrorCode[]): [number, object][] {
  const byStatus = Map.groupBy(new Set(codes), (code) => statusOfCode[code])
  return [...byStatus].map(([status, same]) => [
    status,
    {
      description: same.map((code) => `\`${code}\`: ${meaningOfCode[code]}`).join('\n\n'),
      ...(headersOfStatus[status] ? { headers: headersOfStatus[status] } : {}),
      content: {
        'application/problem+json': {
          schema: { $ref: '#/components/schemas/Problem' },
          examples: Object.fromEntries(same.map((code) => [code, { value: problemExample(code) }])),
        },
      },
    },
  ])
}

const retryAfter = { description: 'Seconds to wait.', schema: { type: 'integer', minimum: 1 } }
const challenge = { description: 'Always `Bearer`.', schema: { type: 'string' } }
const headersOfStatus: Record<number, object> = {
  401: { 'WWW-Authenticate': challenge },
  429: { 'Retry-After': retryAfter, ...rateLimitHeaders },
  503: { 'Retry-After': retryAfter },
}
