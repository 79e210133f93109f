/** What each error code means to a client, and its problem document. Documentation only. */
import { type ErrorCode, statusOfCode } from '../errors.ts'

export const meaningOfCode: Record<ErrorCode, string> = {
  malformed_json: 'The body is not well-formed JSON.',
  current_password_wrong: 'The current password is not right.',
  reset_token_invalid: 'The reset token is wrong, expired or already used.',
  otp_invalid: 'The code is wrong, expired or already used, or the address is already verified.',
  otp_attempts_exceeded: 'The code has expired after too many wrong tries; ask for a new one.',
  invitation_invalid: 'The invitation token was not issued by this service.',
  token_missing: 'The call has no bearer token.',
  token_invalid: 'The access token is malformed or not signed by this service.',
  token_expired: 'The access token has expired; refresh it.',
  token_revoked: 'The access token was revoked: signed out, deactivated, password or role changed.',
  invalid_credentials: 'The email or the password is wrong.',
  refresh_token_invalid: 'The refresh token is unknown or its session has ended.',
  refresh_token_reused: 'The refresh token was used before; its session has been ended.',
  forbidden: 'Your role does not allow this.',
  email_not_verified: 'The email address is not verified; a new code was mailed.',
  account_deactivated: 'The account is deactivated.',
  tenant_deactivated: 'The tenant is deactivated.',
  invitation_not_for_you: 'The invitation is for another address.',
  not_found: 'There is no such thing, or you cannot see it.',
  method_not_allowed: 'The path does not support this method; see `Allow`.',
  email_taken: 'The email address is already in use.',
  slug_taken: 'The slug is already in use.',
  id_conflict: 'The id you chose belongs to something else.',
  id_deleted: 'What had the id you chose has been deleted.',
  list_full: 'The list holds 5,000 items, the maximum.',
  already_member: 'The user is already a member of the list.',
  invitation_spent: 'The invitation was already accepted or rejected.',
  owner_must_hand_over: 'The owner must hand the list over first.',
  member_deactivated: 'The member is deactivated.',
  cannot_deactivate_self: 'You cannot deactivate your own account.',
  last_admin: 'A tenant needs at least one active admin.',
  events_expired: 'The events after `since` are no longer kept; load the list again.',
  invitation_expired: 'The invitation has expired.',
  invitation_void: 'The list is deleted, or who invited you may no longer invite.',
  version_mismatch: 'It has been changed since; the current state is under `current`.',
  body_too_large: 'The body is over 1 MiB.',
  upgrade_required: 'This address accepts WebSocket handshakes only.',
  not_json: 'The body is not sent as `application/json`.',
  invalid: 'A field, parameter or cursor is invalid; see `errors`.',
  not_in_tenant: 'The address belongs to no active user of your tenant.',
  rate_limited: 'Too many calls; wait as many seconds as `Retry-After` says.',
  internal_error: 'A bug in the service; report it with the request id.',
  busy: 'The service is overloaded; try again after `Retry-After`.',
  database_unavailable: 'The database cannot be reached; try again after `Retry-After`.',
  redis_unavailable: 'Redis cannot be reached; try again after `Retry-After`.',
}

/** The `title` of a problem, by its status. */
export const titleOfStatus: Record<number, string> = {
  400: 'Bad request',
  401: 'Not signed in',
  403: 'Not allowed',
  404: 'Not found',
  405: 'Method not allowed',
  409: 'Conflict',
  410: 'Gone',
  412: 'Changed meanwhile',
  413: 'Body too large',
  415: 'Not JSON',
  422: 'Invalid',
  426: 'Upgrade required',
  429: 'Too many requests',
  500: 'Internal error',
  503: 'Temporarily unavailable',
}

/** A problem document of this code, as RFC 9457 and the component `Problem` have it. */
export function problemExample(code: ErrorCode): object {
  const status = statusOfCode[code]
  return {
    type: `urn:minimart:problem:${code}`,
    title: titleOfStatus[status] ?? 'Error',
    status,
    detail: meaningOfCode[code].replaceAll('`', ''),
    code,
    request_id: '019ab3f4-7c21-7d0e-9b6a-2f5c8e1d4a70',
    ...(code === 'invalid' ? { errors: [{ field: 'name', message: 'must not be empty' }] } : {}),
    ...(code === 'version_mismatch' ? { current: { version: 4 } } : {}),
  }
}
