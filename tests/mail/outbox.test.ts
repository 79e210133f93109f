import { afterEach, expect, test } from 'bun:test'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import PostalMime from 'postal-mime'
import { otpMail } from '../../src/mail/templates.ts'
import { until } from '../support/until.ts'
import { type MailerSetup, setUpMailer } from './setup.ts'

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp()
})

const setUp = async (): Promise<MailerSetup & { folder: string; files: () => Promise<string[]> }> => {
  const setup = await setUpMailer(null)
  cleanUps.push(setup.cleanUp)
  const folder = join(setup.dataDir, 'outbox')
  return { ...setup, folder, files: async () => (await readdir(folder)).sort() }
}

const code = (email: string, digits = '042917') =>
  otpMail({ to: { email, fullName: 'Anna' }, code: digits, ttlMinutes: 10 })

test('without a mail server each mail is a complete .eml file that only the owner can read', async () => {
  const { mailer, folder, files, lines } = await setUp()
  mailer.send(code('anna@example.com'))
  await mailer.drain(5000)
  const [name = '', ...others] = await files()
  expect(others).toEqual([])
  expect(name).toMatch(/^\d{8}T\d{6}\.\d{3}Z-\d+-\d+-otp-anna@example\.com\.eml$/)
  expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600)
  expect((await stat(folder)).mode & 0o777).toBe(0o700)
  const raw = await readFile(join(folder, name))
  const mail = await PostalMime.parse(raw)
  expect(mail.to).toEqual([{ name: 'Anna', address: 'anna@example.com' }])
  expect(mail.text).toContain('042917')
  expect(mail.html).toContain('042917')
  expect([...new Set(raw.toString().match(/\d{6,}/g))]).toEqual(['042917'])
  const logged = lines.map((line) => JSON.parse(line))
  expect(logged).toHaveLength(1)
  expect(logged[0]).toMatchObject({
    level: 'info',
    kind: 'otp',
    to: 'anna@example.com',
    subject: 'Your MiniMart code',
    file: join(folder, name),
  })
  expect(lines.join('')).not.toContain('042917')
})

test('files sort in the order the mails were sent', async () => {
  const { mailer, folder, files } = await setUp()
  const codes = Array.from({ length: 40 }, (_, i) => String(100_000 + i))
  for (const digits of codes) mailer.send(code('anna@example.com', digits))
  await mailer.drain(5000)
  const written = await Promise.all((await files()).map((name) => readFile(join(folder, name), 'utf8')))
  expect(written.map((raw) => /\d{6}/.exec(raw)?.[0] ?? '')).toEqual(codes)
})

test('an address cannot escape the folder', async () => {
  const { mailer, files } = await setUp()
  mailer.send(code('/./evil/ü*?@example.com'))
  await mailer.drain(5000)
  expect(await files()).toEqual([expect.stringMatching(/-otp-_\._evil___\?*_*@example\.com\.eml$/)])
})

test('only the newest 2,000 files are kept', async () => {
  const { mailer, folder, files } = await setUp()
  await mkdir(folder, { mode: 0o700 })
  const old = Array.from({ length: 2005 }, (_, i) => `2020-${String(i).padStart(4, '0')}.eml`)
  await Promise.all(old.map((name) => writeFile(join(folder, name), '')))
  mailer.send(code('anna@example.com'))
  await mailer.drain(5000)
  const names = await files()
  expect(names).toHaveLength(2001)
  expect(names[0]).toBe('2020-0005.eml')
})

test('check creates the folder, and says when it is not writable', async () => {
  const { mailer, folder } = await setUp()
  await mailer.check()
  expect((await stat(folder)).isDirectory()).toBe(true)
  const blocked = await setUpMailer(null, {}, { policy: { attempts: 2 } })
  cleanUps.push(blocked.cleanUp)
  await writeFile(join(blocked.dataDir, 'outbox'), 'a file where the folder should be')
  await expect(blocked.mailer.check()).rejects.toThrow('outbox')
  blocked.mailer.send(code('anna@example.com'))
  await until(() => blocked.mailer.state().failed === 1)
  expect(blocked.outcomes).toEqual(['otp retried', 'otp failed'])
})
