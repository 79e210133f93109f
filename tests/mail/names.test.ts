/** Names in mails: shown as they are, but not where a mail program would make a link of them. */
import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { shownName } from '../../src/mail/names.ts'

describe('a name in a mail', () => {
  test.each([
    ...['https://evil.example/login', 'Locked: http://1.2.3.4', 'ftp://x', 'HTTPS://EVIL.EXAMPLE', 'x://y'],
    ...['www.evil', 'See WWW.evil.example', 'evil.example', 'Go to evil.example now', 'a.bc/x', 'x.y/z'],
    ...[
      'eve@evil.example',
      'mailto:eve',
      'bank.co.uk',
      'münchen.de',
      'xn--80ak6aa92e.com',
      'сайт.рф',
      'भारत.भारत',
    ],
    ...[
      'evil\u200b.example',
      'evil.\u00adexample',
      'evil\uff0eexample',
      'evil\u3002example',
      'evil\uff61example',
    ],
    ...[
      'ｅｖｉｌ．ｃｏｍ',
      'evil\u2024com',
      '192.168.0.1',
      'pay at 10.0.0.1/x',
      'St.Gallen',
      'a.example.',
      '(evil.example)',
    ],
    `${'long '.repeat(40)}evil.example`,
  ])('is left out where it could be a link: %s', (name) => {
    expect(shownName(name, 100)).toBe('')
  })

  test.each([
    ...[
      'Anna Berg',
      'Dr. Ann B. Smith',
      'J. R. R. Tolkien',
      'J.R.R. Tolkien',
      'Ann Ph.D.',
      'Ünal “Ö” 山田 太郎 🛒',
    ],
    ...[
      'Party 24.12.2026',
      'Milk 1.5 l',
      'Aldi/Lidl',
      'v2.0',
      'Mehl 405…',
      'O’Neill, Anna',
      'and so on...',
      'e.g. this',
    ],
    ...['http', 'a: b', '1.2.3', '50 % off!', '<b>Anna</b>', 'Anna & Ben', 'awww'],
  ])('is shown as it is otherwise: %s', (name) => {
    expect(shownName(name, 100)).toBe(name)
  })

  test('never ends up as a URL or a bare domain, whatever is around it', () => {
    const around = fc.string({ unit: 'binary', maxLength: 40 })
    const links = fc.constantFrom(
      'https://evil.example',
      'www.evil.example',
      'evil.example/x',
      'evil.example',
    )
    fc.assert(
      fc.property(around, links, around, (before, link, after) => {
        expect(shownName(before + link + after, 100)).toBe('')
      }),
    )
  })
})
