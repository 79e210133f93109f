import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { Elysia } from 'elysia'
import type { Page } from 'playwright-core'
import { pagesRoutes } from '../../src/features/web/routes.ts'
import { type Browser, chromium, openBrowser, reads } from '../support/browser.ts'

interface Call {
  path: string
  body: Record<string, string>
  bearer: string | null
}

/** The API's answers by path; 204 by default. A number is a status, followed by its body. */
let answers: Record<string, (call: Call) => [number, Record<string, unknown>]> = {}
let calls: Call[] = []
const called = () => calls.map(({ path, bearer }) => (bearer === null ? path : `${path} ${bearer}`))

const api = new Elysia().post(
  '/api/v1/*',
  async ({ request }) => {
    const path = new URL(request.url).pathname.slice('/api/v1'.length)
    const text = await request.text()
    const call = {
      path,
      body: text === '' ? {} : JSON.parse(text),
      bearer: request.headers.get('authorization'),
    }
    calls.push(call)
    const [status, body] = answers[path]?.(call) ?? [204, {}]
    return status === 204 ? new Response(null, { status }) : Response.json(body, { status })
  },
  { parse: 'none' },
)

const invitation = {
  list_id: '1',
  list_name: '<img src=x onerror=alert(1)>',
  invited_by: 'Ben Ode',
  email: 'anna@example.com',
  role: 'viewer',
  expires_at: '2026-11-25T07:00:00.000Z',
}
const refused = (status: number, code: string, detail = code): [number, Record<string, unknown>] => [
  status,
  { code, detail },
]
const signedIn = (): [number, Record<string, unknown>] => [
  200,
  { access_token: 'access', user: { full_name: 'Anna Berg' } },
]

describe.skipIf(chromium === null)('in a browser', () => {
  const app = new Elysia().use(pagesRoutes()).use(api)
  let browser: Browser
  let page: Page
  let base = ''
  beforeAll(async () => {
    app.listen({ port: 0, hostname: '127.0.0.1' })
    base = `http://127.0.0.1:${app.server?.port}`
    browser = await openBrowser(chromium ?? '')
    page = browser.page
  }, 30_000)
  afterAll(async () => {
    await browser.close()
    await app.stop(true)
  })
  beforeEach(() => {
    calls = []
    answers = { '/invitations/preview': () => [200, invitation], '/auth/login': signedIn }
  })

  test('an invitee signs in, verifies the address, accepts, and no session is left', async () => {
    let verified = false
    answers['/auth/login'] = ({ body }) => {
      if (body['password'] !== 'right-password') return refused(401, 'invalid_credentials')
      return verified ? signedIn() : refused(403, 'email_not_verified')
    }
    answers['/auth/verify-email'] = ({ body }) => {
      if (body['otp'] !== '042917') return refused(400, 'otp_invalid')
      verified = true
      return [200, { email_verified: true }]
    }
    answers['/invitations/accept'] = () => [200, {}]
    await page.goto(`${base}/invite?token=abc`)
    await reads(page, 'Ben Ode invites you')
    await reads(page, '<img src=x onerror=alert(1)>')
    expect(await page.evaluate('location.href')).toBe(`${base}/invite`)
    await page.fill('#password', 'wrong-password')
    await page.click('#sign-in-form button')
    await reads(page, 'the password is wrong')
    expect(await page.evaluate(`document.getElementById('password').value`)).toBe('wrong-password')
    await page.fill('#password', 'right-password')
    await page.click('#sign-in-form button')
    await page.fill('#code', '111111')
    await page.click('#verify-form button[value=verify]')
    await reads(page, 'This code is wrong')
    await page.click('#verify-form button[value=resend]')
    await reads(page, 'A new code is on its way')
    await page.fill('#code', '042917')
    await page.click('#verify-form button[value=verify]')
    await reads(page, 'Hello, Anna Berg')
    await page.click('#answer-form button[value=accept]')
    await reads(page, 'You are on the list')
    expect(called().slice(-2)).toEqual(['/invitations/accept Bearer access', '/auth/logout Bearer access'])
    expect(calls.find(({ path }) => path === '/invitations/accept')?.body).toEqual({ token: 'abc' })
    expect(browser.faults).toEqual([])
  })

  test("declining is confirmed, and someone else's invitation leads back to signing in", async () => {
    await page.goto(`${base}/invite?token=abc`)
    await page.fill('#password', 'right-password')
    await page.click('#sign-in-form button')
    answers['/invitations/accept'] = () => refused(403, 'invitation_not_for_you')
    await page.click('#answer-form button[value=accept]')
    await reads(page, 'The invitation is for another address')
    await page.fill('#password', 'right-password')
    await page.click('#sign-in-form button')
    await page.click('#answer-form button[value=reject]')
    await reads(page, 'You declined')
    expect(called().at(-1)).toBe('/auth/logout Bearer access')
  })

  test('every reason an invitation fails has its own message', async () => {
    const words = {
      invitation_invalid: 'This link does not work',
      invitation_expired: 'has expired',
      invitation_spent: 'already answered',
      invitation_void: 'no longer counts',
      already_member: 'already on this list',
    }
    for (const [code, text] of Object.entries(words)) {
      answers['/invitations/preview'] = () => refused(410, code)
      await page.goto(`${base}/invite?token=abc`)
      await reads(page, text)
    }
    answers['/invitations/preview'] = () => refused(429, 'rate_limited')
    await page.goto(`${base}/invite?token=abc`)
    await reads(page, 'Too many tries')
    answers['/invitations/preview'] = () => [200, invitation]
    await page.click('#retry-form button')
    await reads(page, 'Sign in to answer')
    calls = []
    await page.goto(`${base}/invite`)
    await reads(page, 'This link does not work')
    expect(calls).toEqual([])
  })

  test('a new password is checked in the page, then by the API, then saved', async () => {
    await page.goto(`${base}/reset-password?token=abc`)
    expect(await page.evaluate('location.href')).toBe(`${base}/reset-password`)
    const send = async (password: string, again: string): Promise<void> => {
      await page.fill('#password', password)
      await page.fill('#again', again)
      await page.click('#form button')
    }
    await send('short', 'short')
    await reads(page, 'this one has 5')
    await send('long enough', 'long enougH')
    await reads(page, 'The two passwords differ')
    expect(calls).toEqual([])
    answers['/auth/reset-password'] = () => refused(422, 'invalid', 'Among the most common ones.')
    await send('password1', 'password1')
    await reads(page, 'Among the most common ones.')
    answers['/auth/reset-password'] = () => [204, {}]
    await send('long enough', 'long enough')
    await reads(page, 'Your password is changed')
    expect(calls.at(-1)?.body).toEqual({ token: 'abc', new_password: 'long enough' })
    answers['/auth/reset-password'] = () => refused(400, 'reset_token_invalid')
    await page.goto(`${base}/reset-password?token=abc`)
    await send('long enough', 'long enough')
    await reads(page, 'This link does not work')
    expect(browser.faults).toEqual([])
  })
})
