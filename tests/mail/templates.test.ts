import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { renderHtml, renderText } from '../../src/mail/layout.ts'
import type { Mail } from '../../src/mail/mail.ts'
import {
  invitationMail,
  otpMail,
  passwordChangedMail,
  passwordResetMail,
  removalNoticeMail,
} from '../../src/mail/templates.ts'

const anna = { email: 'anna@example.com', fullName: 'Anna Berg' }
const url = 'https://shop.example.com/invite?token=abc.def.ghi'

const rendered = (mail: Mail) => ({
  ...mail,
  text: renderText(mail.content),
  html: renderHtml(mail.content),
})
type Rendered = ReturnType<typeof rendered>

const otpFor = (options: Partial<Parameters<typeof otpMail>[0]> = {}): Rendered =>
  rendered(otpMail({ to: anna, tenantName: 'Corner house', code: '123456', ttlMinutes: 10, ...options }))

/** @param name of lists, tenants and other people */
const mailsFor = (fullName: string, name = 'Groceries'): Rendered[] => {
  const to = { email: 'anna@example.com', fullName }
  return [
    otpMail({ to, tenantName: name, code: '042917', ttlMinutes: 10 }),
    invitationMail({ to, listName: name, invitedBy: fullName, role: 'editor', url, ttlHours: 72 }),
    passwordResetMail({ to, url, ttlMinutes: 30 }),
    passwordChangedMail({ to, at: new Date('2026-11-22T07:00:00Z'), publicUrl: 'https://shop.example.com' }),
    removalNoticeMail({
      to,
      people: [{ email: 'ben@example.com', fullName: name }],
      staysUntil: new Date('2026-11-22T07:00:00Z'),
    }),
  ].map(rendered)
}

const anyText = fc.string({ unit: 'binary', maxLength: 300 })
const codes = fc.integer({ min: 0, max: 999_999 }).map((number) => String(number).padStart(6, '0'))

describe('an OTP mail', () => {
  test('contains no six-digit number but the code, whatever the names of recipient and tenant', () => {
    const names = fc.oneof(
      anyText,
      fc.constantFrom('Bot 123456', '1234567 A', '٠١٢٣٤٥', '12\u200b3456', '#117755'),
    )
    fc.assert(
      fc.property(names, names, codes, (fullName, tenantName, code) => {
        const mail = otpFor({ to: { ...anna, fullName }, tenantName, code, ttlMinutes: 1440 })
        for (const part of [mail.text, mail.html]) expect(part.match(/\p{Nd}{6,}/gu)).toEqual([code])
        expect(mail.subject).not.toMatch(/\d/)
        expect(mail.to.fullName).not.toMatch(/\p{Nd}{6}/u)
      }),
      { numRuns: 500 },
    )
  })

  test('says how long the code is valid', () => {
    expect(otpFor().text).toContain('within 10 minutes')
    expect(otpFor({ ttlMinutes: 1 }).text).toContain('within 1 minute.')
  })

  test('names the tenant whose admin added the address, unless that name could be a link or a code', () => {
    expect(otpFor().text).toContain('added to Corner house by an admin')
    for (const tenantName of ['evil.example', 'https://x', 'Shop 123456'])
      expect(otpFor({ tenantName }).text).toContain('added to MiniMart by an admin')
  })
})

describe('every mail', () => {
  test('says the same in text and HTML', () => {
    for (const mail of mailsFor('Anna Berg')) {
      const readable = mail.html
        .slice(mail.html.indexOf('<body'))
        .replace(/<[^>]+>/g, ' ')
        .replace(/&#(\d+);/g, (_all, number) => String.fromCharCode(Number(number)))
        .replace(/\s+/g, ' ')
      for (const words of mail.text.split('\n\n'))
        expect(readable).toContain(words.replace(/\s+/g, ' ').trim().replace(/:$/, ''))
    }
  })

  test('shows what people typed as text, never as markup', () => {
    const hostile = '<img src=x onerror=alert(1)> "quoted" & \'more\' <script>'
    for (const mail of mailsFor(hostile, hostile)) {
      expect(mail.html).not.toContain('<img')
      expect(mail.html).not.toContain('<script')
    }
    expect(mailsFor(hostile, hostile)[1]?.html).toContain('&#60;img src=x onerror=alert(1)&#62;')
  })

  test('shows no name that could be a link: the greeting and the subject are neutral', () => {
    const link = 'Your account is locked: https://evil.example/login'
    for (const mail of mailsFor(link, link)) {
      for (const part of [mail.text, mail.html, mail.subject, mail.to.fullName])
        expect(part).not.toMatch(/evil|locked/)
      expect(mail.to.fullName).toBe('')
      expect(mail.text).toContain('\n\nHello,\n\n')
    }
    const [, invitation] = mailsFor(link, link)
    expect(invitation?.subject).toBe('Invitation to a shopping list')
    expect(invitation?.text).toContain('A colleague invites you to a shopping list.')
  })

  test('limits names and subjects to one short line', () => {
    fc.assert(
      fc.property(anyText, anyText, (fullName, listName) => {
        for (const mail of mailsFor(fullName, listName)) {
          expect(mail.subject).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u)
          expect([...mail.subject].length).toBeLessThanOrEqual(120)
          expect(mail.to.fullName).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u)
        }
      }),
    )
  })

  test('loads no external resources and has its style inline', () => {
    for (const { html } of mailsFor('Anna Berg')) {
      expect(html).not.toMatch(/<(img|link|script|style|iframe|form)\b|url\(|@import|src=/i)
      expect(html).not.toMatch(/#[0-9a-f]{6}/i)
      expect(html).toContain('color-scheme')
    }
  })

  test('carries a request id only if there is one', () => {
    expect(otpFor({ requestId: 'req-1' }).requestId).toBe('req-1')
    expect('requestId' in otpFor()).toBe(false)
  })
})

test('a link that is not an http(s) URL is refused', () => {
  const attempt = () => passwordResetMail({ to: anna, url: 'javascript:alert(1)', ttlMinutes: 5 })
  expect(attempt).toThrow('http://')
})

test('an invitation names the list, the inviter and what the role may do', () => {
  const invitation = { to: anna, listName: 'Groceries', invitedBy: 'Ben Ode', role: 'viewer', url } as const
  const mail = rendered(invitationMail({ ...invitation, ttlHours: 72 }))
  expect(mail.subject).toBe('Invitation to the list "Groceries"')
  expect(mail.text.replace(/\s+/g, ' ')).toContain('Ben Ode invites you to the list "Groceries". As a viewer')
  expect(mail.text).toContain(url)
  expect(mail.text).toContain('ends in 3 days')
})

describe('a removal notice', () => {
  const people = (count: number) =>
    Array.from({ length: count }, (_, n) => ({ email: `p${n}@example.com`, fullName: `Person ${n}.` }))
  const noticeFor = (count: number) => {
    const staysUntil = new Date('2026-11-22T07:00:00Z')
    const { subject, text } = rendered(removalNoticeMail({ to: anna, people: people(count), staysUntil }))
    return { subject, text: text.replace(/\s+/g, ' ') }
  }

  test('names the users, their addresses and the time before which no one is removed', () => {
    const { subject, text } = noticeFor(2)
    expect(subject).toBe('2 accounts never confirmed will be removed')
    expect(text).toContain('after 22 November 2026, 07:00 UTC, unless')
    for (const { email, fullName } of people(2)) expect(text).toContain(`${fullName}, ${email}`)
    expect(noticeFor(1).subject).toBe('An account never confirmed will be removed')
  })

  test('names fifty users and counts the rest', () => {
    expect(noticeFor(50).text).not.toContain(' more.')
    const { text } = noticeFor(1000)
    expect(text).toContain('Person 49., p49@')
    expect(text).not.toContain('Person 50.')
    expect(text).toContain('and 950 more.')
  })
})
