/** The links in mails, opened in a real browser against the real service. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type BrowserPage, chromium, openBrowser } from '../support/browser.ts'
import { goodPassword, makeList, makeTenant, makeUser, signIn } from '../support/people.ts'
import { sharedServer } from '../support/server.ts'
import { servicesRequired } from '../support/service.ts'
import { linkIn } from '../support/smtp.ts'

describe.skipIf(chromium === null && !servicesRequired)('the pages behind the links', () => {
  let page: BrowserPage
  beforeAll(async () => {
    page = await openBrowser(chromium ?? 'chromium')
  }, 30_000)
  afterAll(() => page.close())

  test('an invitee opens the mail, signs in, accepts and is a member', async () => {
    const server = await sharedServer('embedded')
    const tenant = await makeTenant(server)
    const guest = await makeUser(server, tenant, { name: 'Guest' })
    const list = await makeList(tenant.admin, 'Saturday <b>market</b>')
    await tenant.admin.api.post(`/shopping-lists/${list.id}/invite`, { email: guest.email })
    const mail = await server.inbox.waitFor(guest.email, ({ subject }) => subject.includes('Saturday'))
    await page.open(linkIn(mail).href)
    await page.reads('Saturday <b>market</b>')
    await page.fill('password', guest.password)
    await page.click('#sign-in-form button[type=submit]')
    await page.reads('Accept')
    await page.click('#answer-form button[value=accept]')
    await page.reads('You can close this page')
    const members = await tenant.admin.api.get(`/shopping-lists/${list.id}/members`)
    expect(members.body.data.map((member: { user_id: string }) => member.user_id)).toContain(guest.id)
    expect(page.faults).toEqual([])
  }, 60_000)

  test('whoever forgot the password sets a new one and signs in with it', async () => {
    const server = await sharedServer('embedded')
    const { admin } = await makeTenant(server)
    await admin.api.post('/auth/forgot-password', { email: admin.email })
    const mail = await server.inbox.waitFor(admin.email, ({ text }) => text.includes('reset-password'))
    await page.open(linkIn(mail).href)
    const next = `${goodPassword}, again`
    await page.fill('password', next)
    await page.fill('again', next)
    await page.click('#form button[type=submit]')
    await page.reads('Your password is changed')
    expect((await signIn(server, admin.email, next)).user.id).toBe(admin.id)
    expect(page.faults).toEqual([])
  }, 60_000)
})
