/** The words of the API document that belong to no single route, and the schema of every error. */
import { t } from 'elysia'
import { statusOfCode } from '../../errors.ts'
import { meaningOfCode } from '../problem-examples.ts'

export const summaryLine = 'Shared shopping lists with live sync, for many tenants.'

export const tags = [
  { name: 'Auth', description: 'Sign in, verify an address, keep a session alive, end it.' },
  { name: 'Tenants', description: 'The customers of this installation. For super admins only.' },
  { name: 'Users', description: 'The people of your tenant. Changing them takes a tenant admin.' },
  { name: 'Lists', description: 'Lists, what they hold, and the events that changed them.' },
  { name: 'Members', description: 'Who may see and change a list: owner, editors, viewers.' },
  { name: 'Invitations', description: 'Asking a colleague to a list, by mail, and their answer.' },
  { name: 'Items', description: 'What is to be bought, one by one or up to 200 in a call.' },
  { name: 'Audit', description: 'Who did what, for the admins of a tenant and of the platform.' },
  { name: 'Service', description: 'Whether the service lives and can do its work.' },
]

export const securitySchemes = {
  bearerAuth: {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: 'The `access_token` of `POST /api/v1/auth/login`, as `Authorization: Bearer …`.',
  },
} as const

const FieldFault = t.Object(
  {
    field: t.String({
      description: 'Where it stands in the body or query.',
      examples: ['items.17.quantity'],
    }),
    message: t.String({ description: 'What is expected of it.', examples: ['must not be empty'] }),
  },
  { $id: 'FieldFault' },
)

const codes = Object.keys(statusOfCode)

export const Problem = t.Object(
  {
    type: t.String({ format: 'uri', examples: ['urn:minimart:problem:not_found'] }),
    title: t.String({ examples: ['Not found'] }),
    status: t.Integer({ minimum: 400, maximum: 599, examples: [404] }),
    detail: t.String({ examples: [meaningOfCode.not_found] }),
    code: t.Unsafe<string>({
      type: 'string',
      description: 'Stable; decide by this one.',
      enum: codes,
      examples: ['not_found'],
    }),
    request_id: t.String({
      description: 'Also in `X-Request-Id`; name it when you ask for help.',
      examples: ['019ab3f4-7c21-7d0e-9b6a-2f5c8e1d4a70'],
    }),
    errors: t.Optional(t.Array(FieldFault, { description: 'For 422: every refused field.' })),
    current: t.Optional(
      t.Unsafe<object>({ type: 'object', description: 'For 412: what is stored at present.' }),
    ),
  },
  { $id: 'Problem', description: 'An error, as `application/problem+json` (RFC 9457).' },
)

export const description = `${summaryLine} Changes reach everyone on a list at once over \
a WebSocket; its protocol is in [/asyncapi.json](/asyncapi.json).

## Signing in

1. \`POST /api/v1/auth/login\` with email and password answers an \`access_token\` and a \`refresh_token\`. An
   address that is not verified yet gets 403 \`email_not_verified\` and a six-digit code by mail; send the code to
   \`POST /api/v1/auth/verify-email\`, then sign in.
2. Send \`Authorization: Bearer <access_token>\` with every call that has a lock; on [/docs](/docs) that
   is the button **Authorize**.
3. When the access token has expired (401 \`token_expired\`), \`POST /api/v1/auth/refresh\` gives a new pair. A
   refresh token works once. If its answer got lost, repeat the call within 10 seconds: you get the same pair.

\`\`\`sh
curl -s http://127.0.0.1:8000/api/v1/auth/login -H 'content-type: application/json' \\
  -d '{"email": "ada@example.com", "password": "correct horse battery"}'
\`\`\`

## Errors

Every error is \`application/problem+json\` (RFC 9457). Decide by \`code\`, a word that does not change; show
\`detail\` to people; quote \`request_id\` when you ask for help. 422 tells every refused field under \`errors\`.
What is in another tenant, or on a list you cannot see, is 404 and never 403. 429 and 503 carry \`Retry-After\`.

## Limits

Sign-in, codes and resets are limited for the caller's address (an IPv6 address counts with its /64) and, apart from
it, for the account; all other calls for the user, invitations once more by themselves. There is no window to wait for:
a used-up limit gives one call back at a time. Every answer says how the limits stand that its request was counted
against:

\`\`\`
RateLimit-Policy: "user";q=600;w=60, "invitations";q=30;w=3600
RateLimit: "user";r=598;t=1, "invitations";r=11;t=87
\`\`\`

Under \`invitations\` 30 calls may come in 3,600 seconds; 11 may come now and one more in 87 seconds. The fields
\`RateLimit-Limit\`, \`RateLimit-Remaining\` and \`RateLimit-Reset\` tell the same of the limit nearest its end. Past a
limit the answer is 429; after the seconds in \`Retry-After\` one call gets through.

## Bodies

JSON with \`snake_case\` names. An unknown field is refused, never ignored. Times are RFC 3339 in UTC with
milliseconds. Text is trimmed and NFC-normalised and counted in code points. In a PATCH, what you leave out stays,
and \`null\` clears optional text.

## Paging

Collections answer \`{"data": [...], "next_cursor": "..."}\`. Send \`next_cursor\` back as \`?cursor=\` until it
is null. \`?limit=\` takes 1 to 100, 50 unless told. No row comes twice and none is skipped, also while others write.

## Versions

Lists and items carry \`version\`, sent as \`ETag: "3"\` too. Send it back as \`If-Match\` with a PATCH or DELETE
to change only what you have seen: if somebody was faster you get 412 \`version_mismatch\` with the present state
under \`current\`. On a list \`If-Match: "seq-42"\` means that nothing at all has changed, items included.
\`GET /api/v1/shopping-lists/{id}\` answers \`ETag: "seq-42"\` and honours \`If-None-Match\` with 304.

## Choosing ids

You may send the \`id\` (UUIDv7) of a new list or item. Then the call can be repeated safely: the second time it
answers 200 with what exists. The same id for something else is 409 \`id_conflict\`, a deleted one \`id_deleted\`.
`
