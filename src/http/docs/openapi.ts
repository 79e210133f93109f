/**
 * /openapi.json, /docs and /redoc. The document is made from the routes themselves by the swagger plugin, once, and
 * finished by openapi-document.ts. Use it after every route that is to be in it or before: it looks when it is asked.
 */
import { swagger } from '@elysiajs/swagger'
import { Elysia } from 'elysia'
import { answerCached, assets, docsAssets } from './docs-assets.ts'
import { externaliseSwaggerPage, pagePolicy, redocPage, redocScript } from './docs-pages.ts'
import { finishDocument } from './openapi-document.ts'
import { description, Problem, securitySchemes, summaryLine, tags } from './openapi-text.ts'

export interface OpenapiOptions {
  version: string
  /** Named as a second server; the first is the one that the document came from. */
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
    // Relative, as the plugin has it, it would be looked for under /docs/.
    url: specUrl,
    // Otherwise the page sends the document to a validator on somebody else's host.
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
    // It takes any dot in a path for a file.
    excludeStaticFile: false,
    swaggerOptions,
    documentation: {
      // The plugin writes this into an attribute of its page, unescaped, so the long one is put in later.
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
