/**
 * /openapi.json, /docs and /redoc. At the first request the swagger plugin makes the document from the routes, and
 * openapi-document.ts finishes it; so the order in which routes and this plugin are registered does not matter.
 */
import { swagger } from '@elysiajs/swagger'
import { Elysia, t } from 'elysia'
import { statusOfCode } from '../../errors.ts'
import { meaningOfCode } from '../problem-examples.ts'
import { answerCached, assets, docsAssets } from './docs-assets.ts'
import { externaliseSwaggerPage, pagePolicy, redocPage, redocScript } from './docs-pages.ts'
import { finishDocument } from './openapi-document.ts'

export interface OpenapiOptions {
  version: string
  /** Listed as a second server; the first is the one that the document came from. */
  publicUrl?: string | null
}

const title = 'MiniMart'
const specUrl = '/openapi.json'
const swaggerScriptUrl = '/docs/start.js'
const redocScriptUrl = '/redoc/start.js'
const hidden = { detail: { hide: true } }

export function openapi({ version, publicUrl }: OpenapiOptions) {
  const options = pluginOptions(version, publicUrl ?? null)
  const swaggerPage = once(async () => {
    const page = await swagger(options).handle(new Request('http://localhost/docs'))
    return externaliseSwaggerPage(await page.text(), swaggerScriptUrl)
  })
  let document: string | null = null

  return new Elysia({ name: 'openapi' })
    .use(docsAssets())
    .get(swaggerScriptUrl, async ({ request }) => answerScript(request, (await swaggerPage()).script), hidden)
    .get(redocScriptUrl, ({ request }) => answerScript(request, redocScript(specUrl)), hidden)
    .get('/redoc', ({ request }) => answerPage(request, redocPage(`${title} API`, redocScriptUrl)), hidden)
    .onBeforeHandle(async ({ request, route }) => {
      if (route === '/docs') return answerPage(request, (await swaggerPage()).html)
      return route === specUrl && document !== null ? answerJson(request, document) : undefined
    })
    .onAfterHandle(({ request, route, responseValue }) => {
      if (route !== specUrl || document !== null || !isObject(responseValue)) return undefined
      document = JSON.stringify(finishDocument(responseValue, description, [Problem]))
      return answerJson(request, document)
    })
    .use(swagger(options))
}

/** The finished document of an application that uses `openapi`. */
export async function openapiDocument(app: {
  handle: (request: Request) => Promise<Response>
}): Promise<object> {
  const response = await app.handle(new Request(`http://localhost${specUrl}`))
  const document: unknown = await response.json()
  if (!response.ok || !isObject(document)) throw new Error(`${specUrl} answered ${response.status}`)
  return document
}

function pluginOptions(version: string, publicUrl: string | null) {
  const swaggerOptions = {
    // The plugin's own is relative and would be resolved under /docs/.
    url: specUrl,
    // Otherwise the page sends the document to a validator on another host.
    validatorUrl: 'none',
    deepLinking: true,
    displayRequestDuration: true,
    filter: true,
    tryItOutEnabled: true,
  }
  return {
    provider: 'swagger-ui',
    path: '/docs',
    specPath: specUrl,
    theme: assets.swaggerStyle.url,
    autoDarkMode: false,
    // Otherwise any path with a dot counts as a file.
    excludeStaticFile: false,
    swaggerOptions,
    documentation: {
      // The plugin writes this into an attribute of its page unescaped, so the long description is added later.
      info: { title, version, description: summaryLine },
      servers: [
        { url: '/', description: 'The server that this document came from' },
        ...(publicUrl === null ? [] : [{ url: publicUrl, description: 'Its public address' }]),
      ],
      tags,
      security: [{ bearerAuth: [] }],
      components: { securitySchemes },
    },
  } satisfies Parameters<typeof swagger>[0]
}

const answerJson = (request: Request, text: string): Response =>
  answerCached(request, text, {
    etag: tagOf(text),
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-cache',
  })

const answerScript = (request: Request, text: string): Response =>
  answerCached(request, text, {
    etag: tagOf(text),
    'content-type': 'text/javascript; charset=utf-8',
    'cache-control': 'no-cache',
  })

const answerPage = (request: Request, html: string): Response =>
  answerCached(request, html, {
    etag: tagOf(html),
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-cache',
    'content-security-policy': pagePolicy,
    'referrer-policy': 'no-referrer',
  })

const tagOf = (text: string): string => `"${Bun.hash(text).toString(36)}"`

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | null = null
  return () => {
    made ??= make()
    return made
  }
}

const summaryLine = 'Shared shopping lists with live sync, for many tenants.'

const tags = [
  { name: 'Auth', description: 'Sign in, verify an address, keep a session alive, sign out.' },
  { name: 'Tenants', description: 'The customers of this installation. For super admins only.' },
  { name: 'Users', description: 'The people of your tenant. Only tenant admins change them.' },
  { name: 'Lists', description: 'Lists, their contents, and the events that changed them.' },
  { name: 'Members', description: 'Who may see and change a list: owner, editors, viewers.' },
  { name: 'Invitations', description: 'Inviting a colleague to a list by mail, and their answer.' },
  { name: 'Items', description: 'What to buy, one by one or up to 200 in a call.' },
  { name: 'Audit', description: 'Who did what, for the admins of a tenant and of the platform.' },
  { name: 'Service', description: 'Health and metrics.' },
]

const securitySchemes = {
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
      description: 'Its path in the body or query.',
      examples: ['items.17.quantity'],
    }),
    message: t.String({ description: 'What is expected of it.', examples: ['must not be empty'] }),
  },
  { $id: 'FieldFault' },
)

const codes = Object.keys(statusOfCode)

const Problem = t.Object(
  {
    type: t.String({ format: 'uri', examples: ['urn:minimart:problem:not_found'] }),
    title: t.String({ examples: ['Not found'] }),
    status: t.Integer({ minimum: 400, maximum: 599, examples: [404] }),
    detail: t.String({ examples: [meaningOfCode.not_found] }),
    code: t.Unsafe<string>({
      type: 'string',
      description: 'Stable: branch on this.',
      enum: codes,
      examples: ['not_found'],
    }),
    request_id: t.String({
      description: 'Also in `X-Request-Id`; quote it when you ask for help.',
      examples: ['019ab3f4-7c21-7d0e-9b6a-2f5c8e1d4a70'],
    }),
    errors: t.Optional(t.Array(FieldFault, { description: 'For 422: every refused field.' })),
    current: t.Optional(
      t.Unsafe<object>({ type: 'object', description: 'For 412: the current representation.' }),
    ),
  },
  { $id: 'Problem', description: 'An error, as `application/problem+json` (RFC 9457).' },
)

const description = `${summaryLine} Changes reach everyone looking at a list immediately \
over a WebSocket; its protocol is in [/asyncapi.json](/asyncapi.json).

## Signing in

1. \`POST /api/v1/auth/login\` with email and password returns an \`access_token\` and a \`refresh_token\`. With an
   unverified address it answers 403 \`email_not_verified\` and mails a six-digit code; send the code to
   \`POST /api/v1/auth/verify-email\`, then sign in.
2. Send \`Authorization: Bearer <access_token>\` with every call that shows a lock; on [/docs](/docs), use the
   **Authorize** button.
3. When the access token has expired (401 \`token_expired\`), \`POST /api/v1/auth/refresh\` returns a new pair. A
   refresh token works once. If the answer got lost, repeat the call within 10 seconds: you get the same pair.

\`\`\`sh
curl -s http://127.0.0.1:8000/api/v1/auth/login -H 'content-type: application/json' \\
  -d '{"email": "ada@example.com", "password": "correct horse battery"}'
\`\`\`

## Errors

Every error is \`application/problem+json\` (RFC 9457). Branch on \`code\`, which is stable; show \`detail\` to people;
quote \`request_id\` when you ask for help. 422 lists every refused field under \`errors\`. What belongs to another
tenant, or to a list that you cannot see, is 404, never 403. 429 and 503 come with \`Retry-After\`.

## Limits

Sign-in, codes and resets are limited per client address (an IPv6 address counts with its /64) and, separately, per
account; all other calls per user, and invitations once more by themselves. There is no window to wait for: a used-up
limit gives calls back one at a time. Every answer reports the limits that its request counted against:

\`\`\`
RateLimit-Policy: "user";q=600;w=60, "invitations";q=30;w=3600
RateLimit: "user";r=598;t=1, "invitations";r=11;t=87
\`\`\`

\`invitations\` allows 30 calls in 3,600 seconds: 11 now, and one more in 87 seconds. \`RateLimit-Limit\`,
\`RateLimit-Remaining\` and \`RateLimit-Reset\` say the same of the limit closest to running out. Beyond a limit the
answer is 429; after \`Retry-After\` seconds one call gets through.

## Bodies

JSON with \`snake_case\` names. An unknown field is refused, never ignored. Times are RFC 3339 in UTC with
milliseconds. Text is trimmed, NFC-normalised and counted in code points. In a PATCH, fields that you leave out stay as
they are, and \`null\` clears optional text.

## Paging

Collections return \`{"data": [...], "next_cursor": "..."}\`. Send \`next_cursor\` back as \`?cursor=\` until it is null.
\`?limit=\` takes 1 to 100; the default is 50. No row appears twice and none is skipped, even while others write.

## Versions

Lists and items have a \`version\`, also sent as \`ETag: "3"\`. Send it back as \`If-Match\` with a PATCH or DELETE to
change only what you have seen: if somebody else was first you get 412 \`version_mismatch\` with the current state under
\`current\`. On a list, \`If-Match: "seq-42.9f3ac01b"\` means that nothing at all has changed, items included.
\`GET /api/v1/shopping-lists/{id}\` returns \`ETag: "seq-42.9f3ac01b"\` and honours \`If-None-Match\` with 304. What a
proxy that compresses adds to a tag (\`W/\`, \`-gzip\`) does not count; you may also make the tag from \`version\`.

## Positions

Events are numbered by \`seq\`. A \`position\`, like \`42.9f3ac01b\`, also tells the event from another one that had the
number before the database was restored to an earlier state. Keep positions and send them as \`since\`: where the list's
history no longer holds one, you get 410 \`history_changed\`, and read the list again.

## Repeating a call

Whatever changes a list takes an \`Idempotency-Key\`, a UUIDv7 of your choice: send the same call with the same key again
when its answer was lost. What was done is not done twice, and the answer, 200 or 204, shows how things are now. The key
becomes the \`action_id\` of the events. A key that you used for another call is 409 \`idempotency_conflict\`; a call that
was refused or changed nothing leaves its key free. Keys are kept as long as events are.

## Choosing ids

You may choose the \`id\` (UUIDv7) of a new list or item. The call can then be repeated safely: the second time it
answers 200 with what exists. An id that belongs to something else is 409 \`id_conflict\`, a deleted one \`id_deleted\`.
`
