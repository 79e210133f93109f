/** User input in the log is plain text: it cannot add a line, a field or a terminal command. */
import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { AppError } from '../src/errors.ts'
import { createLogger, type LogFields, redactText } from '../src/log.ts'

function printed(format: 'json' | 'pretty', message: string, fields: LogFields = {}): string {
  let text = ''
  const write = (line: string): void => {
    text += line
  }
  createLogger({ level: 'debug', format, write }).warn(message, fields)
  return text
}

/** Characters that move a terminal's cursor, end lines, or reverse the text direction. */
const unprintable = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u

const forgeries = [
  'a\n{"level":"error","message":"forged"}',
  'a\r\nforged',
  '\x1b[2J\x1b[1;31mforged\x1b[0m',
  '\x1b]0;title\x07',
  '\x9b2J',
  '\x85next line',
  'a\u2028b\u2029c',
  'a\u202eb',
  '\b\b\b\b\x7f',
  '"}\n{"x":"',
  'a\0b',
  '\ud800',
]

const wild = fc.oneof(fc.constantFrom(...forgeries), fc.string({ unit: 'binary' }), fc.string())

describe('a log line', () => {
  test('as JSON is one line, well-formed and printable, and round-trips what was logged', () => {
    fc.assert(
      fc.property(wild, wild, (message, value) => {
        const line = printed('json', message, { value, nested: { list: [value] } })
        expect(line).toEndWith('}\n')
        expect(line.slice(0, -1)).not.toMatch(unprintable)
        const { time, ...rest } = JSON.parse(line)
        expect(time).toMatch(/Z$/)
        const expected = { level: 'warn', message: redactText(message), value: redactText(value) }
        expect(rest).toEqual({ ...expected, nested: { list: [redactText(value)] } })
      }),
    )
  })

  test("on a terminal is one line without control characters, except the log's own colours", () => {
    const colours = new RegExp(`${'\x1b'}\\[(?:90|36|33|31|0)m`, 'g')
    fc.assert(
      fc.property(wild, wild, (message, value) => {
        const fields = { value, nested: { deep: value }, error: new Error(value) }
        const line = printed('pretty', message, fields)
        expect(line.match(colours)).toHaveLength(6)
        expect(line).toEndWith('\x1b[0m\n')
        expect(line.replace(colours, '').slice(0, -1)).not.toMatch(unprintable)
      }),
    )
  })

  test('on a terminal quotes anything but a single word, so that no value passes for another field', () => {
    const line = printed('pretty', 'request', { request_id: 'a status=200 user="root"', status: 401 })
    expect(line).toContain('request_id="a status=200 user=\\"root\\"" status=401')
  })
})

describe('a logged error', () => {
  const described = (error: unknown) => JSON.parse(printed('json', 'failed', { error })).error
  const refused = () => Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })

  test('that was expected has its codes and those of its causes, and no stack', () => {
    const cause = Object.assign(refused(), { cause: new Error('the deepest') })
    expect(described(new AppError('database_unavailable', 'Away.', { cause }))).toEqual({
      name: 'AppError',
      message: 'Away.',
      code: 'database_unavailable',
      cause: {
        name: 'Error',
        message: 'connect ECONNREFUSED',
        code: 'ECONNREFUSED',
        cause: { name: 'Error', message: 'the deepest' },
      },
    })
  })

  test("that was unexpected has its stack, and its cause's unless that was expected", () => {
    const cause = new AppError('redis_unavailable', 'Away.', { cause: refused() })
    for (const fault of [new AppError('internal_error', 'Oh.', { cause: refused() }), refused()])
      expect(described(fault).stack).toMatch(/^ +at /m)
    expect(described(new AppError('internal_error', 'Oh.', { cause: refused() })).cause.stack).toBeString()
    const { stack, cause: shown } = described(new Error('Oh.', { cause }))
    expect(stack).toBeString()
    expect(shown).toEqual({
      name: 'AppError',
      message: 'Away.',
      code: 'redis_unavailable',
      cause: expect.anything(),
    })
    expect(shown.cause.stack).toBeUndefined()
  })

  test('without a stack gets none', () => {
    for (const stack of [undefined, 'undefined', 'Error: without frames'])
      expect(described(Object.assign(new Error('no such host'), { stack })).stack).toBeUndefined()
  })
})

describe('a secret', () => {
  const password = 'p@ss:w0rd/#?%'
  const inAddresses = [
    'postgres://minimart:§@db.example:5432/minimart',
    'redis://:§@cache.example:6379/0',
    'rediss://user:§@cache.example',
    'smtp://user:§@mail.example',
    'POSTGRES://minimart:§@db.example/minimart',
    'cannot reach "postgres://minimart:§@db.example/minimart"; tried 3 times',
  ]

  test('in a URL is redacted from messages, fields and errors, whatever characters it has', () => {
    for (const address of inAddresses)
      for (const secret of [password, encodeURIComponent(password), 'plain', '@@@'])
        for (const format of ['json', 'pretty'] as const) {
          const text = address.replace('§', secret)
          const cause = new Error(text)
          const line = printed(format, text, { text, error: new Error(text, { cause }), list: [{ text }] })
          expect(line.replaceAll('[redacted]@', '')).not.toContain(`${secret}@`)
          expect(line).toContain('[redacted]@')
          expect(line).toContain('.example')
        }
  })

  test('is redacted by the name of its field, at any depth', () => {
    const names =
      'password newPassword smtpPassword jwtSecretKey access_token Authorization cookie otp passwordHash'
    for (const name of names.split(' '))
      for (const format of ['json', 'pretty'] as const) {
        const line = printed(format, 'm', { [name]: 'sesame', deep: [{ [name]: 'sesame' }] })
        expect(line).not.toContain('sesame')
      }
    expect(printed('json', 'm', { databaseUrl: 'postgres://u:sesame@h/d' })).not.toContain('sesame')
  })

  test('that is a token is redacted from any text', () => {
    const token = `${Buffer.from('{"alg":"HS256"}').toString('base64url')}.${'a'.repeat(30)}.${'b'.repeat(30)}`
    for (const text of [
      token,
      `Bearer ${token}`,
      `/ws?token=${token}`,
      `bearer.${token},x`,
      `{"a":"${token}"}`,
    ])
      expect(printed('json', text, { text })).not.toContain('aaaa')
    expect(printed('json', '/invite?a=1&token=sesame&b=2')).not.toContain('sesame')
  })
})
