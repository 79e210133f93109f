/**
 * The service's error type, and the table that gives each stable code its HTTP status. Services throw AppError by code;
 * only http/errors.ts turns it into an answer. Anything else that is thrown is a bug: the client gets `internal_error`
 * without its text.
 */
export const statusOfCode = {
  malformed_json: 400,
  malformed_request: 400,
  current_password_wrong: 400,
  reset_token_invalid: 400,
  otp_invalid: 400,
  otp_attempts_exceeded: 400,
  invitation_invalid: 400,
  token_missing: 401,
  token_invalid: 401,
  token_expired: 401,
  token_revoked: 401,
  invalid_credentials: 401,
  refresh_token_invalid: 401,
  refresh_token_reused: 401,
  forbidden: 403,
  email_not_verified: 403,
  account_deactivated: 403,
  tenant_deactivated: 403,
  invitation_not_for_you: 403,
  not_found: 404,
  method_not_allowed: 405,
  email_taken: 409,
  slug_taken: 409,
  id_conflict: 409,
  id_deleted: 409,
  idempotency_conflict: 409,
  list_full: 409,
  tenant_full: 409,
  already_member: 409,
  invitation_spent: 409,
  owner_must_hand_over: 409,
  member_deactivated: 409,
  cannot_deactivate_self: 409,
  last_admin: 409,
  events_expired: 410,
  history_changed: 410,
  invitation_expired: 410,
  invitation_void: 410,
  version_mismatch: 412,
  body_too_large: 413,
  not_json: 415,
  upgrade_required: 426,
  invalid: 422,
  not_in_tenant: 422,
  rate_limited: 429,
  internal_error: 500,
  busy: 503,
  database_unavailable: 503,
  redis_unavailable: 503,
} as const

export type ErrorCode = keyof typeof statusOfCode

/** A refused field: its path on the wire (`items.17.quantity`) and what is expected of it. */
export interface FieldFault {
  field: string
  message: string
}

export interface ErrorExtras {
  /** Seconds to wait before trying again; sent as `Retry-After`. */
  retryAfterSeconds?: number
  /** Further response headers. */
  headers?: Record<string, string>
  errors?: FieldFault[]
  /** The current representation as JSON text, for `version_mismatch`. */
  currentJson?: string
  cause?: unknown
}

export class AppError extends Error {
  override readonly name = 'AppError'
  readonly status: number

  constructor(
    readonly code: ErrorCode,
    detail: string,
    readonly extras: ErrorExtras = {},
  ) {
    super(detail, extras.cause === undefined ? undefined : { cause: extras.cause })
    this.status = statusOfCode[code]
  }
}

/**
 * What only the operator can fix: a setting, a file, the set-up of a database. The message says what is wrong and what
 * to do about it; main.ts prints it without a stack trace and exits with 1.
 */
export class OperatorError extends Error {
  override readonly name: string = 'OperatorError'
}

/** A 422 for a single field. */
export const invalidField = (field: string, message: string): AppError =>
  new AppError('invalid', `${field}: ${message}`, { errors: [{ field, message }] })

export const notFound = (what: string): AppError =>
  new AppError('not_found', `There is no such ${what}, or you cannot see it.`)
