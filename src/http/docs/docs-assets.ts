/**
 * The files of /docs and /redoc, compiled into the executable so that the pages load nothing from elsewhere. Their URLs
 * contain the package's version, so they never change and may be cached for ever.
 */
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { file } from 'bun'
import { Elysia } from 'elysia'
import redocScript from 'redoc/bundles/redoc.standalone.js' with { type: 'file' }
import redoc from 'redoc/package.json' with { type: 'json' }
import favicon from 'swagger-ui-dist/favicon-32x32.png' with { type: 'file' }
import swagger from 'swagger-ui-dist/package.json' with { type: 'json' }
import swaggerStyle from 'swagger-ui-dist/swagger-ui.css' with { type: 'file' }
import swaggerScript from 'swagger-ui-dist/swagger-ui-bundle.js' with { type: 'file' }

interface Asset {
  /** In the executable, compressed (`.gz`), or in node_modules when run from source. */
  path: string
  url: string
  version: string
  type: string
}

const asset = (path: string, name: string, version: string, type: string): Asset => ({
  path,
  url: `/docs/assets/${version}/${name}`,
  version,
  type,
})

const script = 'text/javascript; charset=utf-8'

export const assets = {
  redocScript: asset(redocScript, 'redoc.js', redoc.version, script),
  swaggerScript: asset(swaggerScript, 'swagger-ui.js', swagger.version, script),
  swaggerStyle: asset(swaggerStyle, 'swagger-ui.css', swagger.version, 'text/css; charset=utf-8'),
  favicon: asset(favicon, 'favicon.png', swagger.version, 'image/png'),
}

export function docsAssets() {
  const app = new Elysia({ name: 'docs-assets' })
  for (const { path, url, version, type } of Object.values(assets))
    app.get(
      url,
      async ({ request }) => {
        const isCompressed = path.endsWith('.gz')
        const sendsGzip = isCompressed && takesGzip(request)
        const content = isCompressed && !sendsGzip ? await unpacked(path) : file(path)
        return answerCached(request, content, {
          etag: sendsGzip ? `"${version}-gzip"` : `"${version}"`,
          'content-type': type,
          'cache-control': 'public, max-age=31536000, immutable',
          vary: 'accept-encoding',
          ...(sendsGzip ? { 'content-encoding': 'gzip' } : {}),
        })
      },
      { detail: { hide: true } },
    )
  return app
}

/** A weight of 0 means no (RFC 9110, 12.5.3). */
const takesGzip = (request: Request): boolean =>
  (request.headers.get('accept-encoding') ?? '').split(',').some((coding) => {
    const [name, weight = ''] = coding.split(';').map((part) => part.trim().toLowerCase())
    return name === 'gzip' && !/^q=0(\.0*)?$/.test(weight)
  })

const unpack = promisify(gunzip)
const unpacked = async (path: string): Promise<Blob> => new Blob([await unpack(await file(path).bytes())])

/** 304 if the caller has it already. Compressing proxies put `W/` in front of a tag. */
export function answerCached(
  request: Request,
  body: string | Blob,
  headers: Record<string, string> & { etag: string },
): Response {
  const known = (request.headers.get('if-none-match') ?? '').split(',').map((tag) => tag.trim())
  const all = { ...headers, 'x-content-type-options': 'nosniff' }
  return known.some((tag) => tag === '*' || tag.replace(/^W\//, '') === headers.etag)
    ? new Response(null, { status: 304, headers: all })
    : new Response(body, { headers: all })
}
