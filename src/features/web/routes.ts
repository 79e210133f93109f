import { Elysia } from 'elysia'
import { assets, pages } from './assets.ts'

/**
 * The pages behind the links in mails. Their address holds a token, so they are never stored and send no referrer. They
 * load only their own files and run no inline script, so that a name cannot do harm.
 */
export function pagesRoutes() {
  const app = new Elysia({ name: 'pages' })
  for (const [path, html] of Object.entries(pages))
    app.get(path, () => fixed(html, { ...pageHeaders, 'content-type': 'text/html; charset=utf-8' }), hidden)
  for (const [path, { type, content }] of Object.entries(assets))
    app.get(path, () => fixed(content, { ...assetHeaders, 'content-type': type }), hidden)
  return app
}

/** Not part of the API document. */
const hidden = { detail: { hide: true } }

const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')

const commonHeaders = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
}

const pageHeaders = {
  ...commonHeaders,
  'content-security-policy': contentSecurityPolicy,
  'cache-control': 'no-store',
  'cross-origin-opener-policy': 'same-origin',
}

/** Cached briefly: pages and scripts of one version belong together. The policy covers an SVG opened by itself. */
const assetHeaders = {
  ...commonHeaders,
  'content-security-policy': contentSecurityPolicy,
  'cache-control': 'public, max-age=300',
}

const fixed = (content: string, headers: Record<string, string>): Response =>
  new Response(content, { headers })
