/** The effect of our headers on our pages and on other sites, in a real browser against the real service. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Server } from 'bun'
import type { Page } from 'playwright-core'
import { type Browser, chromium, openBrowser, reads } from '../support/browser.ts'
import { makeTenant, type Person } from '../support/people.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { servicesRequired } from '../support/service.ts'
import { until } from '../support/until.ts'

const site = (html: () => string): Server<undefined> =>
  Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: () => new Response(html(), { headers: { 'content-type': 'text/html' } }),
  })

describe.skipIf(chromium === null && !servicesRequired)('in a browser', () => {
  let browser: Browser
  let page: Page
  let server: TestServer
  let admin: Person
  const friend = site(() => '<title>friend</title>')
  const foe = site(() => `<title>foe</title>${frames()}`)
  const frames = (): string =>
    ['/invite', '/docs', '/healthz'].map((path) => `<iframe src="${server.url}${path}"></iframe>`).join('')

  beforeAll(async () => {
    server = await startServer('embedded', { CORS_ORIGINS: new URL(friend.url).origin })
    admin = (await makeTenant(server)).admin
    browser = await openBrowser(chromium ?? 'chromium')
    page = browser.page
  }, 60_000)
  afterAll(async () => {
    await browser.close()
    await Promise.all([friend.stop(true), foe.stop(true), server.stop()])
  })

  /** Calls the API from the open page; returns the name in the answer, or the browser's error. */
  const callApi = (): Promise<unknown> =>
    page.evaluate(`fetch('${server.url}/api/v1/auth/me', { headers: { authorization: 'Bearer ${admin.accessToken}' } })
      .then(async (answer) => [(await answer.json()).id, answer.headers.get('x-request-id') !== null], (error) => error.name)`)

  test('a site in CORS_ORIGINS can use the API; another can neither call nor frame it', async () => {
    await page.goto(friend.url.href)
    expect(await callApi()).toEqual([admin.id, true])
    await page.goto(foe.url.href)
    expect(await callApi()).toBe('TypeError')
    expect(
      await page.evaluate(
        `fetch('${server.url}/docs', { mode: 'no-cors' }).then(() => 'read', () => 'refused')`,
      ),
    ).toBe('refused')
    const blocked = () => browser.faults.filter((fault) => fault.includes('frame-ancestors')).length === 3
    await until(blocked, 'three frames that were blocked')
  }, 60_000)

  test('the documentation works under its content security policy', async () => {
    const before = browser.faults.length
    await page.goto(`${server.url}/docs`)
    await reads(page, '/api/v1/auth/login')
    await page.goto(`${server.url}/redoc`)
    expect(browser.faults.slice(before)).toEqual([])
    expect(await page.evaluate('window.opener')).toBeNull()
  }, 60_000)
})
