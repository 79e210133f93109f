/** Access tokens that are correctly signed but have bad claims, or were altered, re-encoded or sent oddly. */
import { beforeAll, expect, test } from 'bun:test'
import { connect } from 'node:net'
import { describeService, sharedServer, type TestServer } from '../../support/server.ts'
import { base64url, type Forgery, hs256, startForging } from './forging.ts'

const invalid = '401 token_invalid'
const now = (): number => Math.floor(Date.now() / 1000)

describeService('an access token', (backend) => {
  let server: TestServer
  let made: Forgery

  beforeAll(async () => {
    server = await sharedServer(backend)
    made = await startForging(server)
  })

  test('with a missing claim, or one of a wrong type or value, is refused even when correctly signed', async () => {
    const required = ['sub', 'tid', 'role', 'sid', 'jti', 'typ', 'iss', 'aud', 'iat', 'exp']
    expect(Object.keys(made.claims)).toEqual(expect.arrayContaining(required))
    const tokens: Record<string, string> = {}
    for (const [name, value] of Object.entries(made.claims)) {
      const other = typeof value === 'number' ? String(value) : 1
      const wrong = [
        undefined,
        null,
        other,
        true,
        {},
        [],
        [[value]],
        '',
        -1,
        ` ${value}`,
        String(value).toUpperCase(),
      ]
      for (const each of wrong)
        if (typeof value === 'string' || (each !== -1 && typeof each !== typeof value))
          tokens[`${name}: ${JSON.stringify(each)}`] = made.changed({ [name]: each })
    }
    for (const role of ['owner', 'admin', 'super_admin', 'TENANT_ADMIN', '__proto__', 'constructor'])
      tokens[`role ${role}`] = made.changed({ role })
    for (const typ of ['refresh', 'invitation', 'reset', 'ACCESS'])
      tokens[`typ ${typ}`] = made.changed({ typ })
    for (const aud of [['minimart'], 'minimart-invitation', ['minimart-invitation'], '*'])
      tokens[`aud ${aud}`] = made.changed({ aud })
    for (const iss of ['somebody-else', ['minimart'], 'https://minimart', 'MiniMart'])
      tokens[`iss ${iss}`] = made.changed({ iss })
    const text = JSON.stringify(made.claims).slice(0, -1)
    tokens['another typ said last'] = made.signed(JSON.stringify(hs256), `${text},"typ":"refresh"}`)
    tokens['another aud said last'] = made.signed(JSON.stringify(hs256), `${text},"aud":"others"}`)
    expect(Object.keys(tokens).length).toBeGreaterThan(100)
    expect(await made.notAnswered(invalid, tokens)).toEqual([])
  })

  test('that has expired, is not valid yet, or has an invalid time is refused', async () => {
    const [iat, exp] = [Number(made.claims['iat']), Number(made.claims['exp'])]
    const life = exp - iat
    const inRaw = (name: string, value: string): string =>
      made.signed(
        JSON.stringify(hs256),
        JSON.stringify({ ...made.claims, [name]: 0 }).replace(`"${name}":0`, `"${name}":${value}`),
      )
    const never = {
      'of the future': made.changed({ iat: now() + 120, exp: now() + 120 + life }),
      'of the far future': made.changed({ iat: 253_402_300_000 }),
      'not yet good': made.changed({ nbf: now() + 120 }),
      'not good before some text': made.changed({ nbf: 'now' }),
      'with an end before 1970': made.changed({ exp: -1 }),
      'with an end after the year 9999': made.changed({ exp: 253_402_300_800 }),
      'with a huge end': made.changed({ exp: Number.MAX_VALUE }),
      'with an endless end': inRaw('exp', '1e999'),
      'from an endless beginning': inRaw('iat', '-1e999'),
    }
    expect(await made.notAnswered(invalid, never)).toEqual([])
    const expired = {
      'over this second': made.changed({ exp: now() }),
      'over since 1970': made.changed({ exp: 1 }),
      'over by a fraction': made.changed({ exp: now() - 0.5 }),
      // Its revocation may have been deleted by now.
      'older than tokens get, with an end of its own making': made.changed({
        iat: now() - life,
        exp: now() + 3600,
      }),
    }
    expect(await made.notAnswered('401 token_expired', expired)).toEqual([])
    expect(await made.answerTo(made.changed({ exp: now() + 86_400 }))).toBe('200')
  })

  test('with any one character changed is refused', async () => {
    const token = made.token
    const variants = [...token].map((character, index) => {
      const next = character === '.' ? '-' : base64url[(base64url.indexOf(character) + 1) % 64]
      return `${token.slice(0, index)}${next}${token.slice(index + 1)}`
    })
    const last = base64url.indexOf(token.at(-1) ?? '')
    // Two bits of the last character are unused, so four characters decode to the same bytes.
    for (let spare = 0; spare < 4; spare++) {
      const neighbour = `${token.slice(0, -1)}${base64url[(last & ~3) | spare]}`
      if (neighbour !== token) variants.push(neighbour)
    }
    for (let index = 0; index < token.length; index += 7)
      variants.push(`${token.slice(0, index)}${token.slice(index + 1)}`)
    const wrong: string[] = []
    for (let from = 0; from < variants.length; from += 50)
      await Promise.all(
        variants.slice(from, from + 50).map(async (variant) => {
          if ((await made.answerTo(variant)) !== '401 token_invalid') wrong.push(variant)
        }),
      )
    expect(wrong).toEqual([])
    expect(await made.answerTo(token)).toBe('200')
  })

  test('reassembled, re-encoded, or with anything before, between or after its parts is refused', async () => {
    const token = spelledWithBoth()
    const [header = '', payload = '', signature = ''] = token.split('.')
    const [, otherPayload = ''] = made.changed({ role: 'tenant_admin' }).split('.')
    const tokens = {
      'another one for its claims': `${header}.${otherPayload}.${signature}`,
      'parts the other way round': `${payload}.${header}.${signature}`,
      'two parts': `${header}.${payload}`,
      'four parts': `${token}.${signature}`,
      'five parts': `${header}..${payload}..${signature}`,
      'empty parts': '..',
      'no claims': `${header}..${signature}`,
      'the letters of base64 in files': token.replaceAll('-', '+').replaceAll('_', '/'),
      'the same, of the signature alone': `${header}.${payload}.${signature.replaceAll('-', '+').replaceAll('_', '/')}`,
      padded: `${token}=`,
      'padded parts': [header, payload, signature]
        .map((part) => part.padEnd(Math.ceil(part.length / 4) * 4, '='))
        .join('.'),
      'with a dot after it': `${token}.`,
      'with more after it': `${token}x`,
      'with a tab in it': token.replace('.', '.\t'),
      'with a blank in it': token.replace('.', '. '),
      'with a comma after it': `${token},`,
      quoted: `"${token}"`,
      'in percent': token.replaceAll('.', '%2E'),
      'twice, with a comma': `${token}, Bearer ${token}`,
      'in capitals': token.toUpperCase(),
      'as JSON': JSON.stringify({ protected: header, payload, signature }),
    }
    expect(await made.notAnswered(invalid, tokens)).toEqual([])
    expect(await made.answerTo(token)).toBe('200')
  })

  /** One whose signature has both characters in which base64 and base64url differ. */
  const spelledWithBoth = (): string => {
    for (;;) {
      const token = made.changed({ jti: Bun.randomUUIDv7() })
      const signature = token.split('.')[2] ?? ''
      if (/-/.test(signature) && /_/.test(signature)) return token
    }
  }

  test('under another scheme, or sent twice in any order, is refused', async () => {
    const token = made.token
    expect(await made.answerToHeader(`bearer ${token}`)).toBe('200')
    for (const value of [
      `Token ${token}`,
      `JWT ${token}`,
      `Bearer: ${token}`,
      `Bearer=${token}`,
      `Bearer${token}`,
      token,
    ])
      expect([value, await made.answerToHeader(value)]).toEqual([value, '401 token_invalid'])
    const twice = [
      [`Bearer ${token}`, 'Bearer bad'],
      ['Bearer bad', `Bearer ${token}`],
      [`Bearer ${token}`, `Bearer ${token}`],
      [`Basic ${btoa('a:b')}`, `Bearer ${token}`],
      ['', `Bearer ${token}`],
    ]
    for (const values of twice) {
      const answer = await sendRaw(values.map((value) => `Authorization: ${value}\r\n`).join(''))
      expect([values, answer]).toEqual([values, 'HTTP/1.1 401 Unauthorized'])
    }
    expect(await sendRaw(`Authorization: Bearer ${token}\r\n`)).toBe('HTTP/1.1 200 OK')
  })

  /** Returns the status line. Bun's fetch would join two headers of one name. */
  const sendRaw = (headers: string): Promise<string> =>
    new Promise((resolve) => {
      const { hostname, port } = new URL(server.url)
      const socket = connect(Number(port), hostname, () =>
        socket.write(
          `GET /api/v1/auth/me HTTP/1.1\r\nHost: shop.example\r\n${headers}Connection: close\r\n\r\n`,
        ),
      )
      socket.once('data', (data) => {
        resolve(String(data).split('\r\n')[0] ?? '')
        socket.destroy()
      })
      socket.once('error', ({ message }) => resolve(message))
    })

  test('made of garbage of any size is refused, and the next caller is served', async () => {
    const sizes = {
      8: ['401 token_invalid'],
      64: ['431', '401 token_invalid'],
      1024: ['431', '401 token_invalid'],
    }
    for (const [kilobytes, refusals] of Object.entries(sizes)) {
      const filler = 'A'.repeat(Number(kilobytes) * 1024)
      for (const token of [filler, `${filler}.${filler}.${filler}`, `${made.token}${filler}`])
        expect(refusals).toContain(await made.answerTo(token.slice(0, filler.length)))
      const [header, payload] = made.token.split('.')
      expect(refusals).toContain(
        await made.answerTo(`${header}.${payload}.${filler}`.slice(0, filler.length)),
      )
    }
    expect(await made.answerTo(made.token)).toBe('200')
  })
})
