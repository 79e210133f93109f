/**
 * Request smuggling: if a proxy in front frames a request differently, one caller's bytes become another's request. An
 * ambiguous request is refused and its connection closed, or read in the only way that RFC 9112 allows.
 */
import { expect, test } from 'bun:test'
import { connect } from 'node:net'
import { makeTenant } from '../support/people.ts'
import { exchange } from '../support/raw-http.ts'
import { describeService, sharedServer } from '../support/server.ts'
import { linkIn } from '../support/smtp.ts'

const answerWithinMs = 5000
const head = 'POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
const hidden = 'GET /hidden HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: hidden\r\nConnection: close\r\n\r\n'

/** Everything received until the server closes the connection. */
function conversation(url: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    let received = ''
    const socket = connect(Number(port), hostname, () => socket.write(Buffer.from(bytes, 'latin1')))
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new Error(`still open after ${JSON.stringify(received)}`))
    }, answerWithinMs)
    socket.on('data', (chunk) => {
      received += chunk.toString()
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(received)
    })
  })
}

const transferEncodings = [
  ...[
    'chunked',
    'xchunked',
    '\tchunked',
    'identity',
    'chunked, identity',
    'identity, chunked',
    'gzip, chunked',
  ],
  ...['CHUNKED', '\x0bchunked', '"chunked"', 'chunked\r\nTransfer-Encoding: identity', '\r\n chunked', ''],
]

/** Both lengths in one request, with every way of hiding one from a parser. */
const twoLengths = [
  ...transferEncodings.map((encoding) => `Transfer-Encoding: ${encoding}`),
  ...['Transfer-Encoding : chunked', ' Transfer-Encoding: chunked', 'X: y\n Transfer-Encoding: chunked'],
  ...[
    'X: \rTransfer-Encoding: chunked',
    'X: y\0\r\nTransfer-Encoding: chunked',
    'Transfer_Encoding\0: chunked',
  ],
]

const lengths = [
  ...[
    '2\r\nContent-Length: 100',
    '100\r\nContent-Length: 2',
    '2, 2',
    '2,100',
    '+2',
    '-0',
    '-2',
    '0x2',
    '1e1',
  ],
  ...['', ' ', '\x0b2', '2\x0b', '2;', '18446744073709551618', '2 2', '2.0'],
]

const chunks = [
  ...[
    '0x2\r\n{}\r\n0\r\n\r\n',
    '2\n{}\n0\n\n',
    '2\r\n{}XX0\r\n\r\n',
    '-2\r\n{}\r\n0\r\n\r\n',
    '2 \r\n{}\r\n0\r\n\r\n',
  ],
  ...[
    'FFFFFFFFFFFFFFFF2\r\n{}\r\n0\r\n\r\n',
    '10000000000000002\r\n{}\r\n0\r\n\r\n',
    '+2\r\n{}\r\n0\r\n\r\n',
    '\r\n{}\r\n',
  ],
]

describeService('the end of a request', (backend) => {
  test('is unambiguous: two lengths are refused, and nothing hidden after them is read as a request', async () => {
    const { url } = await sharedServer(backend)
    const body = `0\r\n\r\n${hidden}`
    const refused = [
      ...twoLengths.map((line) => `${head}Content-Length: ${body.length}\r\n${line}\r\n\r\n${body}`),
      ...lengths.map((length) => `${head}Content-Length: ${length}\r\n\r\n{}${hidden}`),
      ...chunks.map((chunk) => `${head}Transfer-Encoding: chunked\r\n\r\n${chunk}${hidden}`),
      `${head}Content-Length : 2\r\n\r\n{}${hidden}`,
      `${head.replace('Host:', ' Host:')}Content-Length: 2\r\n\r\n{}${hidden}`,
    ]
    for (const bytes of refused) {
      const answers = await conversation(url, bytes)
      expect(answers, JSON.stringify(bytes.slice(head.length, -hidden.length))).toStartWith('HTTP/1.1 400 ')
      expect(answers.match(/HTTP\/1\.1 /g)).toHaveLength(1)
      expect(answers).not.toContain('hidden')
    }
  })

  test('is where its length says, and the next request begins there', async () => {
    const { url } = await sharedServer(backend)
    const whole = [
      ...['2', '2 ', '002', '2\r\nContent-Length: 2'].map((length) => `Content-Length: ${length}\r\n\r\n{}`),
      ...['2\r\n{}\r\n0\r\n\r\n', '2;a=b\r\n{}\r\n0\r\n\r\n', '1\r\n{\r\n1\r\n}\r\n0\r\n\r\n'].map(
        (body) => `Transfer-Encoding: chunked\r\n\r\n${body}`,
      ),
    ]
    for (const rest of whole) {
      const answers = await conversation(url, `${head}${rest}${hidden}`)
      const statuses = [...answers.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)
      expect(statuses, JSON.stringify(rest)).toEqual(['422', '404'])
    }
  })

  test('cannot be moved by a smaller body inside a compressed one', async () => {
    const { url } = await sharedServer(backend)
    const body = Bun.gzipSync('{}')
    const bytes = `${head}Content-Encoding: gzip\r\nContent-Length: ${body.length}\r\n\r\n${Buffer.from(body).toString('latin1')}${hidden}`
    const answers = await conversation(url, bytes)
    expect([...answers.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual(['415', '404'])
  })
})

const close = 'Connection: close\r\n\r\n'
const get = (target: string, host = 'localhost'): string =>
  `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${close}`

/** Paths that a proxy might read as another; none opens a route it does not appear to name. */
const elsewhere = [
  ...['//metrics', '/metrics//', '/%6detrics', '/metrics%2f', '/metrics%3fx', '/metrics%00', '/metrics;a=b'],
  ...[
    '/metrics%0d%0aX:y',
    '/METRICS',
    '/\\metrics',

    '/%2fmetrics',
    '/..;/metrics',
    '/%c0%afmetrics',
  ],
  ...[
    '/%e0%80%afmetrics',
    '/x%2f..%2fmetrics',
    '/x%5c..%5cmetrics',
    '/metrics%20',
    '/metrics/.%00',
    '/%252e/metrics',
  ],
  ...[
    '/api/v1//auth/me',
    '/api/v1/auth%2fme',
    '/api%2fv1/auth/me',
    '/api/v1/%61uth/me',
    '/api/v1/auth/me%2f',
  ],
]

describeService('the route of a request', (backend) => {
  test('depends on the path as written: no other spelling leads to a route', async () => {
    const { url } = await sharedServer(backend)
    for (const target of elsewhere) {
      const answer = await exchange(url, Buffer.from(get(target)), answerWithinMs)
      expect(answer?.status, target).toBe(404)
      expect(JSON.parse(answer?.body.toString() ?? '').code).toBe('not_found')
    }
    // As in any URL; a proxy that blocks a path must resolve these first, or match the bare word.
    for (const target of [
      '/x/../metrics',
      '/./metrics',
      '/%2e/metrics',
      '/x/%2E%2e/metrics',
      '/x\\..\\metrics',
      '/metrics\\',
    ])
      expect((await exchange(url, Buffer.from(get(target)), answerWithinMs))?.status, target).toBe(200)
    for (const target of ['*', 'metrics', 'x/../metrics', '\\metrics'])
      expect((await exchange(url, Buffer.from(get(target)), answerWithinMs))?.status, target).toBe(400)
  })

  test("does not depend on a host in the target or a proxy's header", async () => {
    const { url } = await sharedServer(backend)
    const named = [
      get('http://evil.example/api/v1/auth/me'),
      get('https://evil.example:444/api/v1/auth/me'),
      get('/api/v1/auth/me', 'evil.example'),
      get('/api/v1/auth/me', 'localhost\r\nX-Forwarded-Host: evil.example\r\nX-Original-URL: /metrics'),
    ]
    for (const bytes of named) {
      const answer = await exchange(url, Buffer.from(bytes), answerWithinMs)
      expect(answer?.status, bytes).toBe(401)
      const shown = `${[...(answer?.headers ?? [])].join('\n')}\n${answer?.body}`
      expect(shown).not.toContain('evil.example')
    }
    expect(
      await exchange(url, Buffer.from(`GET /metrics HTTP/1.1\r\n${close}`), answerWithinMs),
    ).toMatchObject({
      status: 400,
    })
  })

  test('and its Host never decide where mailed links lead', async () => {
    const server = await sharedServer(backend)
    const { admin } = await makeTenant(server)
    const body = JSON.stringify({ email: admin.email })
    const poison = [
      ...[
        'Host: evil.example',
        'X-Forwarded-Host: evil.example',
        'X-Forwarded-Proto: https',
        'X-Forwarded-Port: 1',
      ],
      ...['Forwarded: host=evil.example;proto=https', 'X-Host: evil.example', 'Origin: https://evil.example'],
      ...['X-Forwarded-Server: evil.example', 'Referer: https://evil.example/', 'X-Forwarded-Prefix: /evil'],
    ]
    const bytes = `POST http://evil.example/api/v1/auth/forgot-password HTTP/1.1\r\n${poison.join('\r\n')}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n${close}${body}`
    expect((await exchange(server.url, Buffer.from(bytes), answerWithinMs))?.status).toBe(202)
    const mail = await server.inbox.waitFor(admin.email, ({ subject }) => subject.includes('password'))
    expect(linkIn(mail).href).toStartWith(`${server.url}/reset-password?token=`)
    expect(mail.raw).not.toContain('evil')
  })
})
