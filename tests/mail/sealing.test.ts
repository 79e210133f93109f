/** How a mail waits in the database: unreadable, good for its own row only, and no longer than nothing at all. */
import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { blockBytes, createSealing } from '../../src/mail/sealing.ts'
import { otpMail, passwordResetMail } from '../../src/mail/templates.ts'
import { codeMail, key } from './setup.ts'

const { seal, open } = createSealing(key)
const other = Buffer.alloc(32, 'another key')
const id = Bun.randomUUIDv7()
const mail = codeMail()
const bytesOf = (sealed: string): Buffer => Buffer.from(sealed, 'base64')

describe('a sealed mail', () => {
  test('is opened as it was, and so is a decoy', () => {
    expect(open(id, seal(id, mail))).toEqual(mail)
    expect(open(id, seal(id, null))).toBeNull()
  })

  test('shows nothing of it, and is never the same twice', () => {
    const [one, two] = [seal(id, mail), seal(id, mail)]
    expect(one).not.toBe(two)
    for (const secret of ['anna', '042917', 'otp']) expect(bytesOf(one).includes(secret)).toBe(false)
  })

  test('is unreadable with another key, for another row, or once a bit was changed', () => {
    const sealed = seal(id, mail)
    expect(createSealing(other).open(id, sealed)).toBe('unreadable')
    expect(open(Bun.randomUUIDv7(), sealed)).toBe('unreadable')
    for (const at of [0, 1, 13, 29, 200, blockBytes - 1]) {
      const bytes = bytesOf(sealed)
      bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
      expect([at, open(id, bytes.toString('base64'))]).toEqual([at, 'unreadable'])
    }
    for (const cut of ['', 'AQ==', sealed.slice(0, 400)]) expect(open(id, cut)).toBe('unreadable')
  })

  test('can be opened after the key was rotated', () => {
    const rotated = createSealing(other, [key])
    expect(rotated.open(id, seal(id, mail))).toEqual(mail)
    expect(open(id, rotated.seal(id, mail))).toBe('unreadable')
  })

  test('in a form that this release does not know is unreadable', () => {
    expect(open(id, seal(id, { ...mail, language: 'de' } as typeof mail))).toBe('unreadable')
  })

  test('has the size of a decoy when it holds a code or a link, whatever the names and addresses', () => {
    const wide = fc.string({ unit: fc.constantFrom('𠀀', '😀', '"', 'a', 'é'), maxLength: 255 })
    const longEmail = fc.constantFrom('a@b.example', `${'ﬀ'.repeat(60)}@${'ﬀ'.repeat(190)}.de`)
    const decoy = bytesOf(seal(id, null)).length
    expect(decoy).toBe(blockBytes)
    fc.assert(
      fc.property(wide, wide, longEmail, (fullName, tenantName, email) => {
        const [to, requestId] = [{ email, fullName }, 'r'.repeat(128)]
        const token = 't'.repeat(130)
        const url = `https://${'long.'.repeat(50)}example/reset-password?token=${token}`
        for (const queued of [
          otpMail({ to, tenantName, code: '123456', ttlMinutes: 1440, requestId }),
          passwordResetMail({ to, url, ttlMinutes: 30, requestId }),
        ])
          expect(bytesOf(seal(id, queued)).length).toBe(decoy)
      }),
    )
  })
})
