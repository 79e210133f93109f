import { expect, test } from 'bun:test'
import { assets, pages } from '../../src/features/web/assets.ts'
import { pagesRoutes } from '../../src/features/web/routes.ts'

const app = pagesRoutes()
const get = (path: string) => app.handle(new Request(`http://localhost${path}`))
const pagePaths = Object.keys(pages)
const assetPaths = Object.keys(assets)

test('the pages send no referrer, are never cached, and run only their own script', async () => {
  expect(pagePaths).toEqual(['/invite', '/reset-password'])
  for (const path of pagePaths) {
    const answer = await get(`${path}?token=secret`)
    expect(answer.status).toBe(200)
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy':
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    })
    expect(await answer.text()).not.toContain('secret')
  }
})

test('the pages have no inline script, style or handler', () => {
  for (const html of Object.values(pages)) {
    expect(html).not.toMatch(/<style|\sstyle=|\son[a-z]+=|javascript:/i)
    for (const [script] of html.matchAll(/<script\b[\s\S]*?<\/script>/gi))
      expect(script).toMatch(/^<script type="module" src="\/pages\/[a-z-]+\.js"><\/script>$/)
  }
})

test('everything the pages and scripts load is served here, with its media type', async () => {
  const sources = [...Object.values(pages), ...Object.values(assets).map(({ content }) => content)]
  const loaded = sources.flatMap((source) => [
    ...[...source.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, url = '']) => url),
    ...[...source.matchAll(/from '\.\/([^']+)'/g)].map(([, file = '']) => `/pages/${file}`),
  ])
  expect([...new Set(loaded)].sort()).toEqual([...assetPaths].sort())
  for (const path of assetPaths) {
    const answer = await get(path)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
    expect(answer.headers.get('content-type')).toMatch(
      path.endsWith('.js') ? /^text\/javascript/ : path.endsWith('.css') ? /^text\/css/ : /^image\/svg/,
    )
  }
})

test('scripts insert names only as text', async () => {
  for (const path of assetPaths.filter((name) => name.endsWith('.js')))
    expect(await (await get(path)).text()).not.toMatch(
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function/,
    )
})

test('every field has a label, and every id a script asks for exists', () => {
  for (const [path, html] of Object.entries(pages)) {
    const ids = [...html.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id)
    expect(new Set(ids).size).toBe(ids.length)
    for (const [, id] of html.matchAll(/<input id="([^"]+)"(?! type="checkbox")/g))
      expect(html).toContain(`<label for="${id}">`)
    const script = Object.entries(assets).find(([name]) => name === `/pages${path}.js`)?.[1].content ?? ''
    const asked = [...script.matchAll(/(?:element|field|onSubmit|showStep)\('([^']+)'/g)].map(([, id]) => id)
    expect(asked.length).toBeGreaterThan(3)
    for (const id of [...asked, 'message']) expect(ids).toContain(id)
  }
})
