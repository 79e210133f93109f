/** Mailed links, opened in a real browser against the real service. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Page } from 'playwright-core'
import { type Browser, chromium, openBrowser, reads } from '../support/browser.ts'
import { goodPassword, makeList, makeTenant, makeUser, signIn } from '../support/people.ts'
import { sharedServer } from '../support/server.ts'
import { servicesRequired } from '../support/service.ts'
import { linkIn } from '../support/smtp.ts'

describe.skipIf(chromium === null && !servicesRequired)('the pages opened by mailed links', () => {
  let browser: Browser
  let page: Page
  beforeAll(async () => {
    browser = await openBrowser(chromium ?? 'chromium')
    page = browser.page
  }, 30_000)
  afterAll(() => browser.close())

  test('an invitee opens the mail, signs in, accepts and is a member', async () => {
    const server = await sharedServer('embedded')
    const tenant = await makeTenant(server)
    const guest = await makeUser(server, tenant, { name: 'Guest' })
    const list = await makeList(tenant.admin, 'Saturday <b>market</b>')
    await tenant.admin.api.post(`/shopping-lists/${list.id}/invite`, { email: guest.email })
    const mail = await server.inbox.waitFor(guest.email, ({ subject }) => subject.includes('Saturday'))
    await page.goto(linkIn(mail).href)
    await reads(page, 'Saturday <b>market</b>')
    await page.fill('#password', guest.password)
    await page.click('#sign-in-form button[type=submit]')
    await reads(page, 'Accept')
    await page.click('#answer-form button[value=accept]')
    await reads(page, 'You can close this page')
    const members = await tenant.admin.api.get(`/shopping-lists/${list.id}/members`)
    expect(members.body.data.map((member: { user_id: string }) => member.user_id)).toContain(guest.id)
    expect(browser.faults).toEqual([])
  }, 60_000)

  test('a user who forgot the password sets a new one and signs in with it', async () => {
    const server = await sharedServer('embedded')
    const { admin } = await makeTenant(server)
    await admin.api.post('/auth/forgot-password', { email: admin.email })
    const mail = await server.inbox.waitFor(admin.email, ({ text }) => text.includes('reset-password'))
    await page.goto(linkIn(mail).href)
    const next = `${goodPassword}, again`
    await page.fill('#password', next)
    await page.fill('#again', next)
    await page.click('#form button[type=submit]')
    await reads(page, 'Your password is changed')
    expect((await signIn(server, admin.email, next)).user.id).toBe(admin.id)
    expect(browser.faults).toEqual([])
  }, 60_000)

  const markup = '<img src=x onerror=window.taken=1><script>window.taken=1</script>'

  test('a hostile name of a list or a user is shown as text and never runs', async () => {
    const server = await sharedServer('embedded')
    const tenant = await makeTenant(server)
    const guest = await makeUser(server, tenant)
    await guest.api.patch('/auth/me', { full_name: `${markup}{{7*7}}` })
    await tenant.admin.api.patch('/auth/me', { full_name: `</title>${markup}` })
    for (const name of [
      `"'>${markup}`,
      `</dd>${markup}`,
      'javascript:window.taken=1',
      "'-(window.taken=1)-'",
    ]) {
      const list = await makeList(tenant.admin, name)
      await tenant.admin.api.post(`/shopping-lists/${list.id}/invite`, { email: guest.email })
      const mail = await server.inbox.waitFor(guest.email, ({ subject }) => subject.includes('Invitation'))
      await page.goto(linkIn(mail).href)
      await reads(page, name)
      await reads(page, `</title>${markup}`)
      await page.fill('#password', guest.password)
      await page.click('#sign-in-form button[type=submit]')
      await reads(page, `${markup}{{7*7}}`)
      await page.click('#answer-form button[value=reject]')
      await reads(page, 'You declined')
      expect(await page.evaluate('window.taken ?? null')).toBeNull()
    }
    expect(browser.faults).toEqual([])
  }, 60_000)

  test('a hostile token or URL runs nothing, redirects nowhere and is removed from the address bar', async () => {
    const { url } = await sharedServer('embedded')
    const tokens = [
      markup,
      `"'>${markup}`,
      'javascript:window.taken=1',
      '__proto__',
      '\r\nX: y',
      '\0',
      'x'.repeat(4096),
    ]
    const queries = tokens.map((token) => `token=${encodeURIComponent(token)}`)
    const odd = [
      `token=a&token=${encodeURIComponent(markup)}`,
      `token=a#${encodeURIComponent(markup)}`,
      'token=%E0%A4%A',
    ]
    for (const path of ['/invite', '/reset-password'])
      for (const query of [...queries, ...odd, `token=a&next=https://evil.example&redirect=//evil.example`]) {
        await page.goto(`${url}${path}?${query}`)
        if (path === '/reset-password') {
          await page.fill('#password', goodPassword)
          await page.fill('#again', goodPassword)
          await page.click('#form button[type=submit]')
        }
        await reads(page, 'This link does not work')
        expect(await page.evaluate('window.taken ?? null'), query).toBeNull()
        expect(await page.evaluate('location.href.split("#")[0]')).toBe(`${url}${path}`)
      }
    expect(browser.faults).toEqual([])
  }, 60_000)
})
