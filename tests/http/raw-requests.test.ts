/** Requests that no HTTP client sends: each is answered or cut off in time, never with a 5xx, and the server survives. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { connect } from 'node:net'
import { makeList, makeTenant, type Tenant } from '../support/people.ts'
import { exchange } from '../support/raw-http.ts'
import { describeService, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const answerWithinMs = 5000
const head = 'Host: localhost\r\nConnection: close\r\n'
const json = 'Content-Type: application/json\r\n'
const login = 'POST /api/v1/auth/login HTTP/1.1\r\n'

const oddities: Record<string, string> = {
  'not HTTP at all': 'hello\r\n\r\n',
  'a TLS hello': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  'HTTP/2 preface': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'HTTP/0.9': 'GET /healthz\r\n\r\n',
  'HTTP/1.0 without Host': 'GET /healthz HTTP/1.0\r\n\r\n',
  'HTTP/9.9': `GET /healthz HTTP/9.9\r\n${head}\r\n`,
  'no Host': 'GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n',
  'a Host that is no host': 'GET /healthz HTTP/1.1\r\nHost: a b/\\@?#\r\nConnection: close\r\n\r\n',
  'an absolute target': `GET http://evil.example/api/v1/auth/me HTTP/1.1\r\n${head}\r\n`,
  'an asterisk target': `OPTIONS * HTTP/1.1\r\n${head}\r\n`,
  CONNECT: `CONNECT evil.example:443 HTTP/1.1\r\n${head}\r\n`,
  'a target without a slash': `GET api HTTP/1.1\r\n${head}\r\n`,
  'many slashes': `GET //api//v1///auth/me HTTP/1.1\r\n${head}\r\n`,
  'raw bytes in the target': `GET /api/v1/\xff\xfe\x80?q=\xc3( HTTP/1.1\r\n${head}\r\n`,
  'a control character in the target': `GET /api/v1/\x01 HTTP/1.1\r\n${head}\r\n`,
  'a target of 20,000 characters': `GET /${'a'.repeat(20_000)} HTTP/1.1\r\n${head}\r\n`,
  'a header of 100,000 characters': `GET /healthz HTTP/1.1\r\n${head}X-Long: ${'a'.repeat(100_000)}\r\n\r\n`,
  '5,000 headers': `GET /healthz HTTP/1.1\r\n${head}${'X-Many: 1\r\n'.repeat(5000)}\r\n`,
  'a header without a colon': `GET /healthz HTTP/1.1\r\n${head}nonsense\r\n\r\n`,
  'a header name with a blank': `GET /healthz HTTP/1.1\r\n${head}X Bad: 1\r\n\r\n`,
  'a folded header': `GET /healthz HTTP/1.1\r\n${head}X-Folded: 1\r\n 2\r\n\r\n`,
  'NUL in a header': `GET /healthz HTTP/1.1\r\n${head}X-Nul: a\0b\r\n\r\n`,
  'line feeds alone': 'GET /healthz HTTP/1.1\nHost: localhost\nConnection: close\n\n',
  'length and chunks at once': `${login}${head}${json}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'two lengths': `${login}${head}${json}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} `,
  'a negative length': `${login}${head}${json}Content-Length: -1\r\n\r\n{}`,
  'a length that is no number': `${login}${head}${json}Content-Length: 2e0\r\n\r\n{}`,
  'an enormous length': `${login}${head}${json}Content-Length: 99999999999999999999\r\n\r\n{}`,
  'a chunk size that is none': `${login}${head}${json}Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n`,
  'a transfer encoding of its own': `${login}${head}${json}Transfer-Encoding: gzip\r\n\r\n{}`,
  'an expectation': `${login}${head}${json}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}`,
  'an empty chunked body': `${login}${head}${json}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
}

describeService('a raw connection', (backend) => {
  let server: TestServer
  let tenant: Tenant
  beforeAll(async () => {
    server = await startServer(backend)
    tenant = await makeTenant(server)
  })
  afterAll(() => server.stop())

  test.each(Object.entries(oddities))('%s: answered with no 5xx, or cut off', async (_name, text) => {
    const answer = await exchange(server.url, Buffer.from(text, 'latin1'), answerWithinMs)
    if (answer !== null)
      expect(answer.status === 501 || answer.status === 505 || answer.status < 500).toBe(true)
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200)
  })

  test('a short Host, as of a container, changes no route', async () => {
    for (const host of ['a', 'api', 'localhost', '[::1]:80']) {
      const bytes = Buffer.from(`GET /api/v1/auth/me HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
      expect((await exchange(server.url, bytes, answerWithinMs))?.status, host).toBe(401)
    }
  })

  test('two Host headers are refused, the same twice as well', async () => {
    for (const second of ['evil.example', 'localhost']) {
      const bytes = Buffer.from(`GET /api/v1/auth/me HTTP/1.1\r\n${head}host: ${second}\r\n\r\n`)
      const answer = await exchange(server.url, bytes, answerWithinMs)
      expect(answer?.status).toBe(400)
      expect(JSON.parse(String(answer?.body)).code).toBe('malformed_request')
    }
  })

  test('nothing a client sends can inject a response header', async () => {
    for (const injected of [
      '%0d%0aSet-Cookie:%20a=b',
      '\r\nSet-Cookie: a=b',
      '%E5%98%8D%E5%98%8ASet-Cookie:a=b',
    ]) {
      for (const request of [
        `GET /${injected} HTTP/1.1\r\n${head}\r\n`,
        `GET /invite?token=${injected} HTTP/1.1\r\n${head}\r\n`,
        `GET /healthz HTTP/1.1\r\n${head}X-Request-Id: abcdefgh${injected}\r\n\r\n`,
      ]) {
        const answer = await exchange(server.url, Buffer.from(request, 'latin1'), answerWithinMs)
        expect(answer?.headers.has('set-cookie') ?? false).toBe(false)
      }
    }
  })

  test('a body sent byte by byte is accepted; one that stops half-way changes nothing', async () => {
    const list = await makeList(tenant.admin)
    const body = JSON.stringify({ name: 'Slow milk' })
    const { port } = new URL(server.url)
    const send = (length: number) => {
      const socket = connect(Number(port), '127.0.0.1')
      const state = { answer: '' }
      socket.on('data', (chunk) => {
        state.answer += chunk.toString()
      })
      socket.on('error', () => undefined)
      socket.write(
        `POST /api/v1/shopping-lists/${list.id}/items HTTP/1.1\r\n${head}${json}Authorization: Bearer ${tenant.admin.accessToken}\r\nContent-Length: ${length}\r\n\r\n`,
      )
      return { socket, state }
    }
    const half = send(body.length + 10)
    half.socket.write(body)
    const slow = send(body.length)
    slow.socket.setNoDelay(true)
    for (const byte of body) {
      slow.socket.write(byte)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await until(() => slow.state.answer.includes('\r\n\r\n'), 'the answer')
    expect(slow.state.answer).toStartWith('HTTP/1.1 201')
    half.socket.destroy()
    const { body: detail } = await tenant.admin.api.get(`/shopping-lists/${list.id}`)
    expect(detail.items.map(({ name }: { name: string }) => name)).toEqual(['Slow milk'])
  })

  test('pipelined requests are answered in order, each with its own answer', async () => {
    const { port } = new URL(server.url)
    const socket = connect(Number(port), '127.0.0.1')
    let answers = ''
    socket.on('data', (chunk) => {
      answers += chunk.toString()
    })
    socket.write(
      `GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: request-1\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: request-2\r\n\r\nGET /api/v1/auth/me HTTP/1.1\r\n${head}X-Request-Id: request-3\r\n\r\n`,
    )
    await until(() => answers.split('HTTP/1.1 ').length === 4, 'three answers')
    expect([...answers.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual([
      '200',
      '404',
      '401',
    ])
    expect([...answers.matchAll(/x-request-id: (\S+)/gi)].map(([, id]) => id)).toEqual([
      'request-1',
      'request-2',
      'request-3',
    ])
    socket.destroy()
  })
})
