import { afterEach, describe, expect, test } from 'bun:test'
import { loadConfig } from '../../src/config/config.ts'
import { newId } from '../../src/lib/ids.ts'
import { passwordResetMail } from '../../src/mail/templates.ts'
import { codeIn, type Inbox, type InboxOptions, linkIn, startInbox } from '../support/smtp.ts'
import { anna, codeMail, type MailerSetup, setUpMailer } from './setup.ts'

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

const inboxWith = async (options?: InboxOptions): Promise<Inbox> => {
  const inbox = await startInbox(options)
  cleanUps.push(inbox.stop)
  return inbox
}

const mailerFor = async (...args: Parameters<typeof setUpMailer>): Promise<MailerSetup> => {
  const setup = await setUpMailer(...args)
  cleanUps.push(setup.cleanUp)
  return setup
}

const code = (fullName = 'Anna Berg', requestId?: string) => codeMail('042917', { fullName }, requestId)

describe('a mail sent by SMTP', () => {
  test('arrives whole, as text and HTML, with its headers', async () => {
    const inbox = await inboxWith()
    const { mailer } = await mailerFor(inbox)
    await mailer.deliver(code('Anna Berg', 'req-abc'))
    const mail = await inbox.waitFor('anna@example.com')
    const header = (name: string) => mail.parsed.headers.find(({ key }) => key === name)?.value
    expect(codeIn(mail)).toBe('042917')
    expect(mail.html).toContain('042917')
    expect(mail.parsed.from).toEqual({ name: 'Mini, Mart', address: 'no-reply@shop.example.com' })
    expect(mail.parsed.to).toEqual([{ name: 'Anna Berg', address: 'anna@example.com' }])
    expect(mail.from).toBe('no-reply@shop.example.com')
    expect(mail.parsed.messageId).toMatch(/^<[a-p]{32}@shop\.example\.com>$/)
    expect(Math.abs(Date.parse(mail.parsed.date ?? '') - Date.now())).toBeLessThan(60_000)
    expect(header('auto-submitted')).toBe('auto-generated')
    expect(header('x-request-id')).toBe('req-abc')
  })

  test('contains no six-digit number but the code, in all its raw bytes', async () => {
    const inbox = await inboxWith()
    const { mailer } = await mailerFor(inbox)
    const names = ['Anna', 'Ännä Bérg', 'Анна Берг', '山田 太郎', 'Bot 123456']
    for (let i = 0; i < 100; i++) {
      await mailer.deliver(code(names[i % names.length], `0199887766-${i}`))
      const { raw } = await inbox.waitFor('anna@example.com')
      expect([...new Set(raw.match(/\d{6,}/g))]).toEqual(['042917'])
    }
  })

  test('keeps names with line breaks, quotes, commas and other scripts within their header', async () => {
    const inbox = await inboxWith()
    const { mailer } = await mailerFor(inbox)
    const names = {
      'Anna\r\nBcc: eve@example': 'Anna Bcc: eve@example',
      '"Berg, Anna" <eve@example>': '"Berg, Anna" <eve@example>',
      'Ünal, Ö. \u202egpj': 'Ünal, Ö. gpj',
      '山田 太郎\u0000': '山田 太郎',
    }
    for (const [typed, shown] of Object.entries(names)) {
      await mailer.deliver(code(typed))
      const mail = await inbox.waitFor('anna@example.com')
      expect(mail.parsed.to).toEqual([{ name: shown, address: 'anna@example.com' }])
      expect(mail.parsed.headers.map(({ key }) => key)).not.toContain('bcc')
    }
    expect(inbox.mails.every(({ to }) => to === 'anna@example.com')).toBe(true)
  })

  test('to an invalid address is refused before anything is sent', async () => {
    const inbox = await inboxWith()
    const { mailer } = await mailerFor(inbox)
    for (const email of ['a@x.com\r\nRCPT TO:<eve@x.com>', 'a@x.com, eve@x.com', '<eve@x.com>', 'nobody']) {
      const letter = { id: newId(), mail: { ...code(), to: { email, fullName: 'A' } }, at: new Date() }
      expect(await mailer.attempt(letter, 1, () => 1)).toBe('failed')
    }
    expect(mailer.counts()).toEqual({ sent: 0, failed: 4, retried: 0 })
    expect(inbox.attempts()).toBe(0)
  })

  test('is the same at each attempt, so that one that arrives twice can be recognised', async () => {
    const inbox = await inboxWith()
    const letter = { id: newId(), mail: code(), at: new Date() }
    const instances = [await mailerFor(inbox), await mailerFor(inbox)]
    for (const { mailer } of instances) await mailer.attempt(letter, 1, () => null)
    expect(new Set(inbox.mails.map(({ raw }) => raw)).size).toBe(1)
    await instances[0]?.mailer.deliver(code())
    expect(new Set(inbox.mails.map(({ parsed }) => parsed.messageId)).size).toBe(2)
  })

  test('keeps a long link whole', async () => {
    const inbox = await inboxWith()
    const { mailer } = await mailerFor(inbox)
    const url = `https://shop.example.com/reset-password?token=${'aB3_-.'.repeat(100)}`
    await mailer.deliver(passwordResetMail({ to: anna, url, ttlMinutes: 30 }))
    const mail = await inbox.waitFor('anna@example.com', ({ subject }) => subject.includes('password'))
    expect(linkIn(mail).href).toBe(url)
    expect(mail.html).toContain(`href="${url}"`)
  })
})

describe('SMTP_SECURE', () => {
  test('auto uses STARTTLS where offered, and plain text where not', async () => {
    const offering = await inboxWith({ encryption: 'starttls' })
    const plain = await inboxWith()
    for (const [inbox, encrypted] of [
      [offering, true],
      [plain, false],
    ] as const) {
      const { mailer } = await mailerFor(inbox)
      await mailer.check()
      await mailer.deliver(code())
      expect((await inbox.waitFor('anna@example.com')).encrypted).toBe(encrypted)
    }
  })

  test('auto with a password checks the certificate first', async () => {
    const credentials = { user: 'mini', password: 'mart-password' }
    const inbox = await inboxWith({ encryption: 'starttls', credentials })
    const account = { smtpUser: credentials.user, smtpPassword: credentials.password }
    const wary = await mailerFor(inbox, account)
    await expect(wary.mailer.check()).rejects.toThrow(/certificate/i)
    const trusting = await mailerFor(inbox, account, { trustedCertificates: inbox.certificate ?? '' })
    await trusting.mailer.check()
    await trusting.mailer.deliver(code())
    expect(await inbox.waitFor('anna@example.com')).toMatchObject({ encrypted: true, user: 'mini' })
  })

  test('tls speaks TLS from the start and refuses an unknown certificate', async () => {
    const inbox = await inboxWith({ encryption: 'tls' })
    const wary = await mailerFor(inbox, { smtpSecure: 'tls' })
    await expect(wary.mailer.check()).rejects.toThrow(/certificate/i)
    const trusting = await mailerFor(
      inbox,
      { smtpSecure: 'tls' },
      { trustedCertificates: inbox.certificate ?? '' },
    )
    await trusting.mailer.deliver(code())
    expect((await inbox.waitFor('anna@example.com')).encrypted).toBe(true)
  })

  test('starttls never falls back to plain text', async () => {
    const inbox = await inboxWith()
    const { mailer } = await mailerFor(inbox, { smtpSecure: 'starttls' })
    await expect(mailer.check()).rejects.toThrow('The connection to the mail server')
    expect(await mailer.deliver(code())).toBe(false)
    expect(inbox.attempts()).toBe(0)
  })

  test('none stays in plain text even if STARTTLS is offered', async () => {
    const inbox = await inboxWith({ encryption: 'starttls' })
    const { mailer } = await mailerFor(inbox, { smtpSecure: 'none' })
    await mailer.deliver(code())
    expect((await inbox.waitFor('anna@example.com')).encrypted).toBe(false)
  })
})

test('check reports a wrong password', async () => {
  const inbox = await inboxWith({ credentials: { user: 'mini', password: 'right-password' } })
  const { mailer, lines } = await mailerFor(inbox, { smtpUser: 'mini', smtpPassword: 'wrong-password' })
  const refusal = await mailer.check().catch((error: unknown) => String(error))
  expect(refusal).toContain('The connection to the mail server')
  expect(refusal).not.toContain('wrong-password')
  expect(lines.join('')).not.toContain('wrong-password')
})

test('an invalid sender is reported at the start, by its variable', () => {
  for (const EMAIL_FROM of ['nobody', 'A <a@b> <c@d>', 'A\r\nBcc: e@x.com <a@b.c>', '<>'])
    expect(() => loadConfig({ EMAIL_FROM })).toThrow('EMAIL_FROM must be an address')
})
