import { Elysia } from 'elysia'
import { assets, pages } from './assets.ts'

/**
 * The pages behind the links in mails. The token is in their address, so they are never stored and tell nobody
 * where they were; they load only their own files and run no inline script, so that a name can do no harm.
 */
export function pagesRoutes() {
  const app = new Elysia({ name: 'pages' })
  for (const [path, html] of Object.entries(pages))
    app.get(path, () => fixed(html, { ...pageHeaders, 'content-type': 'text/html; charset=utf-8' }), hidden)
  for (const [path, { type, content }] of Object.entries(assets))
    app.get(path, () => fixed(content, { ...assetHeaders, 'content-type': type }), hidden)
  return app
}

/** They are for people, not part of the API's description. */
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

/** Short: pages and scripts of one version belong together. An SVG opened by itself may run nothing either. */
const assetHeaders = {
  ...commonHeaders,
  'content-security-policy': contentSecurityPolicy,
  'cache-control': 'public, max-age=300',
}

const fixed = (content: string, headers: Record<string, string>): Response =>
  new Response(content, { headers })
