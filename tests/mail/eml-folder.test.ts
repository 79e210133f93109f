import { afterEach, expect, test } from 'bun:test'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import PostalMime from 'postal-mime'
import { newId } from '../../src/lib/ids.ts'
import { codeMail, type MailerSetup, setUpMailer } from './setup.ts'

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

const code = (email: string, digits = '042917') => codeMail(digits, { email, fullName: 'Anna' })

test('without a mail server each mail is a complete .eml file that only the owner can read', async () => {
  const { mailer, folder, files, lines } = await setUp()
  expect(await mailer.deliver(code('anna@example.com'))).toBe(true)
  const [name = '', ...others] = await files()
  expect(others).toEqual([])
  expect(name).toMatch(/^\d{8}T\d{6}\.\d{3}Z-[0-9a-f-]{36}-otp-anna@example\.com\.eml$/)
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

test('files sort in the order the mails were queued', async () => {
  const { mailer, folder, files } = await setUp()
  const at = new Date()
  const letters = Array.from({ length: 40 }, (_, index) => ({
    id: newId(),
    mail: code('anna@example.com', String(100_000 + index)),
    at,
  }))
  await Promise.all(letters.toReversed().map((letter) => mailer.attempt(letter, 1, () => null)))
  const written = await Promise.all((await files()).map((name) => readFile(join(folder, name), 'utf8')))
  expect(written.map((raw) => /\d{6}/.exec(raw)?.[0])).toEqual(
    letters.map((_, index) => String(100_000 + index)),
  )
})

test('a mail that is written again, after a crash, replaces its file', async () => {
  const { mailer, folder, files } = await setUp()
  const letter = { id: newId(), mail: code('anna@example.com'), at: new Date() }
  await mailer.attempt(letter, 1, () => null)
  const [name = ''] = await files()
  const once = await readFile(join(folder, name), 'utf8')
  await mailer.attempt(letter, 2, () => null)
  expect(await files()).toEqual([name])
  expect(await readFile(join(folder, name), 'utf8')).toBe(once)
})

test('an address cannot escape the folder', async () => {
  const { mailer, files } = await setUp()
  await mailer.deliver(code('/./evil/ü*?@example.com'))
  expect(await files()).toEqual([expect.stringMatching(/-otp-_\._evil___\?*_*@example\.com\.eml$/)])
})

test('only the newest 2,000 files are kept', async () => {
  const { mailer, folder, files } = await setUp()
  await mkdir(folder, { mode: 0o700 })
  const old = Array.from({ length: 2005 }, (_, i) => `2020-${String(i).padStart(4, '0')}.eml`)
  await Promise.all(old.map((name) => writeFile(join(folder, name), '')))
  await mailer.deliver(code('anna@example.com'))
  const names = await files()
  expect(names).toHaveLength(2001)
  expect(names[0]).toBe('2020-0005.eml')
})

test('check creates the folder, and says when it is not writable', async () => {
  const { mailer, folder } = await setUp()
  await mailer.check()
  expect((await stat(folder)).isDirectory()).toBe(true)
  const blocked = await setUpMailer(null)
  cleanUps.push(blocked.cleanUp)
  await writeFile(join(blocked.dataDir, 'outbox'), 'a file where the folder should be')
  await expect(blocked.mailer.check()).rejects.toThrow('outbox')
  const letter = { id: newId(), mail: code('anna@example.com'), at: new Date() }
  expect(await blocked.mailer.attempt(letter, 1, () => 5)).toEqual({ retryInMs: 5 })
})
