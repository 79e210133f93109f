/**
 * Turns whatever was thrown into problem+json (RFC 9457): the only place that knows what an error looks like on the
 * wire. Anything but an AppError is a bug: logged with the request's id, sent as `internal_error` without its text.
 */
import type { TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { type Context, Elysia, ParseError, ValidationError } from 'elysia'
import type { RateLimits } from '../access/rate-limits.ts'
import { ConstraintError } from '../db/errors.ts'
import { AppError, type FieldFault } from '../errors.ts'
import type { Logger } from '../log.ts'
import { BodyFault } from './body.ts'
import { titleOfStatus } from './problem-examples.ts'
import { requestInfo } from './request-info.ts'

export interface RouteTable {
  /** The methods that a path supports, for `Allow`; empty for an unknown path. */
  methodsOf(path: string): string[]
}

/** @param limits count what is asked for at addresses that do not exist */
export const errorAnswers = (log: Logger, routes: () => RouteTable, limits: Pick<RateLimits, 'ofOpen'>) =>
  new Elysia({ name: 'error-answers' }).onError({ as: 'global' }, ({ error, request, set, path }) => {
    if (isAborted(error)) return clientClosed(set)
    const info = requestInfo(request)
    const known = isNoRoute(error) ? noSuchRoute(path, routes, () => limits.ofOpen(info)) : toAppError(error)
    if (known.code === 'internal_error')
      log.error(known.message, { request_id: info.id, error: known.extras.cause ?? known })
    else if (known.status >= 500) log.warn(known.message, { request_id: info.id, error: known })
    return problemResponse(known, info.id, set)
  })

/** The connection ended before the body was complete: the client left or broke its chunks, or the server stops. */
const isAborted = (error: unknown): boolean =>
  error instanceof ParseError && error.cause instanceof DOMException && error.cause.name === 'AbortError'

/** Nobody receives it; 499 (nginx's code) keeps it apart from real failures in the log and the metrics. */
function clientClosed(set: Context['set']): Response {
  set.status = 499
  return new Response(null, { status: 499 })
}

/** With `Retry-After` and whatever other headers the error has. */
export function problemResponse(error: AppError, requestId: string, set: Context['set']): Response {
  const { retryAfterSeconds, headers, errors, currentJson } = error.extras
  const problem = {
    type: `urn:minimart:problem:${error.code}`,
    title: titleOfStatus[error.status] ?? 'Error',
    status: error.status,
    detail: error.message,
    code: error.code,
    request_id: requestId,
    ...(errors ? { errors } : {}),
  }
  const text = JSON.stringify(problem)
  set.status = error.status
  return new Response(currentJson ? `${text.slice(0, -1)},"current":${currentJson}}` : text, {
    status: error.status,
    headers: {
      ...headers,
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      ...(error.status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
      ...(retryAfterSeconds === undefined
        ? {}
        : { 'retry-after': String(Math.max(1, Math.ceil(retryAfterSeconds))) }),
    },
  })
}

/** Foreign keys to the caller or their tenant, either gone since the token was issued: an older backup was restored. */
const referencesToCaller: ReadonlySet<string> = new Set([
  ...['users_tenant_id_tenants_id_fk', 'revocations_tenant_id_tenants_id_fk'],
  'spent_invitations_tenant_id_tenants_id_fk',
  ...['shopping_lists_tenant_id_tenants_id_fk', 'shopping_lists_owner_fkey', 'shopping_lists_creator_fkey'],
  ...['items_added_by_fkey', 'keyed_calls_user_fkey', 'audit_log_tenant_id_tenants_id_fk'],
])

/** What is asked for causes a mail, and too many wait: nothing of it was done. */
const tooManyMails = 'mail_outbox_room'

function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error
  if (error instanceof ValidationError)
    return error.value instanceof BodyFault
      ? error.value.error
      : isBodyMissing(error)
        ? bodyMissing()
        : invalid(error)
  if (error instanceof ConstraintError && referencesToCaller.has(error.constraint))
    return new AppError('token_revoked', 'This account no longer exists.')
  if (error instanceof ConstraintError && error.constraint === tooManyMails)
    return new AppError('busy', 'Too many mails are waiting. Try again in a moment.', {
      retryAfterSeconds: 5,
    })
  return new AppError('internal_error', 'Something went wrong on our side. Please report the request id.', {
    cause: error,
  })
}

const isNoRoute = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'NOT_FOUND'

/** @param count throws AppError rate_limited when the caller has asked too often for what does not exist */
function noSuchRoute(path: string, routes: () => RouteTable, count: () => void): AppError {
  const methods = routes().methodsOf(path)
  if (methods.length > 0)
    return new AppError('method_not_allowed', `This address supports ${methods.join(', ')}.`, {
      headers: { allow: methods.join(', ') },
    })
  try {
    count()
    return new AppError('not_found', 'There is nothing at this address.')
  } catch (error) {
    return toAppError(error)
  }
}

const isBodyMissing = (error: ValidationError): boolean => error.type === 'body' && error.value === null

const bodyMissing = () => new AppError('malformed_json', 'A JSON body is required.')

interface SchemaFault {
  path: string
  message: string
  schema: TSchema
  value: unknown
}

function invalid(error: ValidationError): AppError {
  const faults = (error.all as SchemaFault[]).flatMap(branchFaults).map(fieldFault)
  const seen = new Map(faults.map((fault) => [fault.field, fault]))
  const errors = [...seen.values()].slice(0, 100)
  const first = errors[0]
  return new AppError('invalid', first ? `${first.field}: ${first.message}` : 'The request is invalid.', {
    errors,
  })
}

/** For a body that may have one of several shapes, the faults against the shape it resembles most. */
function branchFaults(fault: SchemaFault): SchemaFault[] {
  const branches: TSchema[] = fault.path === '' ? (fault.schema['anyOf'] ?? []) : []
  const keys = Object.keys(typeof fault.value === 'object' && fault.value ? fault.value : {})
  const resemblance = (branch: TSchema): number =>
    keys.filter((key) => Object.hasOwn(branch['properties'] ?? {}, key)).length
  const [closest] = branches.toSorted((a, b) => resemblance(b) - resemblance(a))
  return closest ? [...Value.Errors(closest, fault.value)] : [fault]
}

function fieldFault({ path, message, schema, value }: SchemaFault): FieldFault {
  const field = path === '' ? 'body' : path.slice(1).split('/').map(unescapePointer).join('.')
  if (message === 'Unexpected property') return { field, message: 'is not a known field here' }
  if (value === undefined) return { field, message: 'is required' }
  const expects: unknown = schema['expects']
  return { field, message: typeof expects === 'string' ? expects : message.replace(/^E/, 'e') }
}

/** Schema faults give their place as a JSON pointer (RFC 6901). */
const unescapePointer = (part: string): string => part.replaceAll('~1', '/').replaceAll('~0', '~')
