import { describe, expect, test } from 'bun:test'
import { assets } from '../../../src/http/docs/docs-assets.ts'
import { demoApi } from './demo-api.ts'

const app = demoApi()
const get = (path: string, headers: Record<string, string> = {}): Promise<Response> =>
  app.handle(new Request(`http://localhost${path}`, { headers }))

/** Everything an HTML page loads, and the number of its inline scripts. */
async function linksOf(html: string): Promise<{ links: string[]; inlineScripts: number }> {
  const links: string[] = []
  let inlineScripts = 0
  const collect = (name: string) => (element: HTMLRewriterTypes.Element) => {
    links.push(element.getAttribute(name) ?? '')
  }
  new HTMLRewriter()
    .on('[src]', { element: collect('src') })
    .on('link[href]', { element: collect('href') })
    .on('script', {
      text: (chunk) => {
        if (chunk.text.trim()) inlineScripts += 1
      },
    })
    .transform(html)
  return { links, inlineScripts }
}

describe.each(['/docs', '/docs/', '/redoc'])('%s', (path) => {
  test('loads scripts, styles and icon from this server only, and all of them exist', async () => {
    const page = await get(path)
    expect(page.status).toBe(200)
    expect(page.headers.get('content-type')).toStartWith('text/html')
    const html = await page.text()
    const { links, inlineScripts } = await linksOf(html)
    expect(inlineScripts).toBe(0)
    expect(links.length).toBeGreaterThanOrEqual(3)
    for (const link of links) {
      expect(link).toStartWith('/')
      expect((await get(link)).status).toBe(200)
    }
    expect(html).not.toContain('https://')
  })

  test("lets the browser run only this server's scripts and connect only to it", async () => {
    const policy = (await get(path)).headers.get('content-security-policy')
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("script-src 'self';")
    expect(policy).toContain("connect-src 'self';")
  })
})

test('the start script of Swagger UI loads this document and no external validator', async () => {
  const response = await get('/docs/start.js')
  expect(response.headers.get('content-type')).toStartWith('text/javascript')
  const script = await response.text()
  expect(script).toContain('SwaggerUIBundle({"url":"/openapi.json"')
  expect(script).toContain('"validatorUrl":"none"')
  expect(() => new Function(script)).not.toThrow()
})

test('the start script of ReDoc is well-formed and loads this document', async () => {
  const script = await (await get('/redoc/start.js')).text()
  expect(script).toContain('Redoc.init("/openapi.json"')
  expect(() => new Function(script)).not.toThrow()
})

test.each(Object.values(assets))(
  '$url is complete, immutable in caches, and answered with 304 when cached',
  async (asset) => {
    const response = await get(asset.url)
    expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
    expect(response.headers.get('content-type')).toBe(asset.type)
    expect(response.headers.get('content-encoding')).toBeNull()
    expect((await response.bytes()).length).toBe(Bun.file(asset.path).size)
    const etag = response.headers.get('etag') ?? ''
    for (const known of [etag, `"other", W/${etag}`, '*']) {
      const again = await get(asset.url, { 'if-none-match': known })
      expect(again.status).toBe(304)
      expect(await again.text()).toBe('')
    }
    expect((await get(asset.url, { 'if-none-match': '"other"' })).status).toBe(200)
  },
)

test('the document is generated once and answered with 304 when cached', async () => {
  const first = await get('/openapi.json')
  const etag = first.headers.get('etag') ?? ''
  expect(first.headers.get('content-type')).toStartWith('application/json')
  expect(await (await get('/openapi.json')).text()).toBe(await first.text())
  expect((await get('/openapi.json', { 'if-none-match': etag })).status).toBe(304)
})
