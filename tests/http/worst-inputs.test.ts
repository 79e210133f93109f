/**
 * One request must never stop an instance. The worst input we know at each stage, before and after a caller is known,
 * while somebody asks for /healthz all the time. A loop of the kind that this is about stood for seconds or minutes;
 * `bun run test:long` holds each answer of /healthz under 100 ms and prints the longest.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { makeList, makeTenant, makeUser, type Person } from '../support/people.ts'
import { postgresAvailable, testPostgres } from '../support/postgres.ts'
import { asServer, describeExecutable, environmentFor } from '../support/program.ts'
import { bytesOf, exchange, type RawRequest } from '../support/raw-http.ts'
import { isLong, report, rounds } from '../support/rounds.ts'
import type { TestServer } from '../support/server.ts'
import { type Inbox, startInbox } from '../support/smtp.ts'
import { closeSockets, openSocket } from '../support/socket.ts'

const healthyWithinMs = isLong ? 100 : 1000
const repeats = rounds('WORST', { suite: 1, long: 20 })

type Header = [name: string, value: string]

/** As often as fits into so many bytes. */
const filled = (bytes: number, part: string): string =>
  part.repeat(Math.floor(bytes / Buffer.byteLength(part)))
const headerBytes = 14_000
const bodyBytes = 1_048_000

const request = (target: string, headers: Header[] = []): RawRequest => ({
  method: 'GET',
  target,
  headers,
  body: null,
})

const posted = (target: string, body: string, headers: Header[] = []): RawRequest => ({
  method: 'POST',
  target,
  headers: [['Content-Type', 'application/json'], ...headers],
  body: Buffer.from(body),
})

const ofHeader = (name: string, value: string, target = '/api/v1/auth/me') => request(target, [[name, value]])

const headers: Record<string, RawRequest> = {
  'X-Forwarded-For of addresses': ofHeader('X-Forwarded-For', filled(headerBytes, '::1,')),
  'X-Forwarded-For of numbers': ofHeader('X-Forwarded-For', filled(headerBytes, '1,')),
  'X-Forwarded-For of brackets': ofHeader('X-Forwarded-For', filled(headerBytes, '[]:1')),
  'many X-Forwarded-For': request(
    '/healthz',
    Array.from({ length: 150 }, (): Header => ['X-Forwarded-For', '::1,::1,::1']),
  ),
  'many headers': request(
    '/healthz',
    Array.from({ length: 150 }, (_, index): Header => [`X-${index}`, 'x'.repeat(60)]),
  ),
  'a long X-Request-Id': ofHeader('X-Request-Id', filled(headerBytes, 'a')),
  'a bearer of dots': ofHeader('Authorization', `Bearer ${filled(headerBytes, 'a.')}`),
  'a bearer of blanks': ofHeader('Authorization', `Bearer${' '.repeat(headerBytes)}x`),
  'a bearer before blanks': ofHeader('Authorization', `Bearer a.b.c${' '.repeat(headerBytes)}x`),
  'a bearer without dots': ofHeader('Authorization', `Bearer ${filled(headerBytes, 'a')}`),
  'huge claims': ofHeader('Authorization', `Bearer e30.${filled(headerBytes - 100, 'W1tb')}.x`),
  'a header of a token that nests': ofHeader(
    'Authorization',
    `Bearer ${Buffer.from('['.repeat(9000)).toString('base64url')}.e30.x`,
  ),
  'a bearer for the metrics': ofHeader('Authorization', `Bearer ${filled(headerBytes, 'a ')}`, '/metrics'),
  'a list of codings': ofHeader('Accept-Encoding', filled(headerBytes, 'gzip;q=0.1,'), '/openapi.json'),
  'a list of types': ofHeader('Accept', filled(headerBytes, 'a/b;q=0.1,'), '/docs'),
  'a list of tags': ofHeader('If-None-Match', filled(headerBytes, 'W/"a" ,'), '/docs'),
  cookies: ofHeader('Cookie', filled(headerBytes, 'a=b; ')),
  'a long Origin': ofHeader('Origin', `http://${filled(headerBytes, 'a.')}`, '/ws'),
  'a list of subprotocols': request('/ws', [
    ['Upgrade', 'websocket'],
    ['Sec-WebSocket-Version', '13'],
    ['Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ=='],
    ['Sec-WebSocket-Protocol', filled(headerBytes, 'bearer.,')],
  ]),
  'a type of parameters': posted('/api/v1/auth/login', '{}', [
    ['Content-Type', filled(headerBytes, 'a/b; c=d;')],
  ]),
  'a type of blanks': {
    ...posted('/api/v1/auth/login', '{}'),
    headers: [['Content-Type', `application/json;${' '.repeat(headerBytes)}charset`]],
  },
}

const targets: Record<string, RawRequest> = {
  'a path of slashes': request(filled(headerBytes, '/')),
  'a path of parts': request(filled(headerBytes, '/a')),
  'a path of escapes': request(`/api/v1/items/${filled(headerBytes, '%E2%82%AC')}`),
  'a path of bad escapes': request(`/api/v1/items/${filled(headerBytes, '%')}`),
  'a long id': request(`/api/v1/shopping-lists/${filled(headerBytes, '0')}/members/${filled(100, '0-')}`),
  'many parameters': request(`/api/v1/users?${filled(headerBytes, 'a&')}`),
  'one parameter many times': request(`/api/v1/users?${filled(headerBytes, 'limit=1&')}`),
  'a parameter of marks': request(`/api/v1/users?search=e${filled(headerBytes, '%CC%81')}`),
  'a parameter of brackets': request(`/api/v1/users?${filled(headerBytes, 'a[]=1&')}`),
  'a parameter of lists': request(`/api/v1/users?search=${filled(headerBytes, '1,')}`),
  'a query of signs': request(`/api/v1/users?${filled(headerBytes, '+')}`),
  'a token for the socket': request(`/ws?token=${filled(headerBytes, 'a.')}`),
}

const text = (value: string): string => JSON.stringify({ refresh_token: value })
const values = (count: number, write: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => write(index)).join(',')

const bodies: Record<string, string> = {
  'marks in a row': text(`e${filled(bodyBytes, '\u0301\u0316')}`),
  'marks of three classes': text(`e${filled(bodyBytes, '\u0315\u0300\u05ae')}`),
  'thirty marks, over and over': text(filled(bodyBytes, `e${'\u0301\u0316'.repeat(15)}`)),
  'texts of thirty marks': `{${values(60, (index) => `"k${index}":"${filled(16_000, `e${'\u0301\u0316'.repeat(15)}`)}"`)}}`,
  'decomposed text': text(filled(bodyBytes, 'e\u0301')),
  'composed text': text(filled(bodyBytes, '\u1e69\u0323')),
  'escaped text': `{"refresh_token":"${filled(bodyBytes, '\\u0041')}"}`,
  blanks: text(' '.repeat(bodyBytes)),
  'ends of lines': text(filled(bodyBytes / 2, '\r\n')),
  'a long name': `{"${'a'.repeat(bodyBytes)}":1}`,
  'a name of marks': `{"e${filled(bodyBytes, '\u0301')}":1}`,
  brackets: `{"a":${'['.repeat(bodyBytes / 2)}${']'.repeat(bodyBytes / 2)}}`,
  'open brackets': '['.repeat(bodyBytes),
  braces: `${'{"a":'.repeat(170_000)}1${'}'.repeat(170_000)}`,
  'many names': `{${values(80_000, (index) => `"k${index}":1`)}}`,
  'as many names as may be': `{${values(10_000, (index) => `"k${index}":1`)}}`,
  'objects of as many names as may be': `{"a":[${values(95, () => `{${values(100, (index) => `"k${index}":1`)}}`)}]}`,
  'one name many times': `{${values(160_000, () => '"a":1')}}`,
  'lists of lists': `{"a":[${values(500, () => `[${values(900, () => '1')}]`)}]}`,
  'as many lists as may be': `{"a":[${values(1000, () => '[1,1,1,1,1,1,1,1,1]')}]}`,
  objects: `{"items":[${values(300_000, () => '{}')}]}`,
  'a long number': `{"a":${'9'.repeat(bodyBytes)}}`,
  'a long fraction': `{"a":0.${'12'.repeat(bodyBytes / 2)}}`,
  'a long exponent': `{"a":1e${'9'.repeat(bodyBytes)}}`,
  'a long token': text(filled(bodyBytes, 'a.')),
  'no JSON': '\\"'.repeat(bodyBytes / 2),
  'bytes that are no text': '\xff'.repeat(bodyBytes / 2),
  'a token of dots': text('.'.repeat(4096)),
  'a token of digits': text(`${crypto.randomUUID()}.${crypto.randomUUID()}.${'9'.repeat(4000)}`),
}

const openBodies: Record<string, RawRequest> = Object.fromEntries([
  ...Object.entries(bodies).map(([what, body]) => [what, posted('/api/v1/auth/refresh', body)]),
  ...[
    ['an address of dots', `${'a'.repeat(64)}@${'a.'.repeat(90)}a`],
    ['an address of signs', '@'.repeat(16_000)],
    ['an address of hyphens', `a@a${'-'.repeat(16_000)}`],
    ['an address of letters', 'ä'.repeat(8000)],
  ].map(([what, email]) => [what, posted('/api/v1/auth/login', JSON.stringify({ email, password: 'x' }))]),
  [
    'a token of claims',
    posted('/api/v1/invitations/preview', JSON.stringify({ token: `e30.${'W1tb'.repeat(1000)}.x` })),
  ],
  ['a body for nobody', posted('/no/such/place', bodies['decomposed text'] ?? '')],
])

/** In a process of its own, so that what the test does counts for nothing. */
describeExecutable('while the worst input arrives', (program) => {
  let server: TestServer
  let inbox: Inbox
  let dropDatabase = async (): Promise<void> => undefined
  let ann: Person
  let listId: string
  beforeAll(async () => {
    inbox = await startInbox()
    const env: Record<string, string> = {
      ...environmentFor(inbox, await program.dataDir('migrated')),
      TRUST_PROXY: '127.0.0.0/8,::1',
    }
    // The embedded database would do its own work on the event loop.
    if (postgresAvailable) {
      const database = await (await testPostgres()).createDatabase()
      dropDatabase = database.drop
      env['DATABASE_URL'] = database.url
      env['JWT_SECRET_KEY'] = 'tests only: long enough to sign with, 0123456789'
    }
    const running = await (await program.start(['serve'], { env })).ready()
    server = asServer(running, { backend: postgresAvailable ? 'full' : 'embedded', inbox, environment: env })
    ann = await makeUser(server, await makeTenant(server))
    listId = (await makeList(ann)).id
  })
  afterAll(async () => {
    closeSockets()
    await program.clean()
    await inbox.stop()
    await dropDatabase()
  })

  /** How long /healthz took at most, asked all the time until the work is done. */
  async function longestHealth(work: () => Promise<unknown>): Promise<number> {
    let [longest, isOver] = [0, false]
    const watched = (async () => {
      while (!isOver) {
        const begun = performance.now()
        expect((await fetch(`${server.url}/healthz`)).status).toBe(200)
        longest = Math.max(longest, performance.now() - begun)
      }
    })()
    await work()
    isOver = true
    await watched
    return longest
  }

  async function holds(stage: string, inputs: Record<string, () => Promise<unknown>>): Promise<void> {
    const slow: [string, number][] = []
    let worst: [string, number] = ['', 0]
    for (const [what, work] of Object.entries(inputs)) {
      // What an input causes, it causes each time; a busy machine does not.
      let longest = Number.POSITIVE_INFINITY
      for (let count = 0; count < repeats; count++) longest = Math.min(longest, await longestHealth(work))
      if (longest > worst[1]) worst = [what, longest]
      if (longest > healthyWithinMs) slow.push([what, Math.round(longest)])
    }
    report(
      `${stage}: ${Object.keys(inputs).length} inputs, /healthz took ${worst[1].toFixed(1)} ms at most (${worst[0]})`,
    )
    expect(slow).toEqual([])
  }

  /** Each is answered or cut off, and by no fault of ours. */
  const sent = (requests: Record<string, RawRequest>, more: Header[] = []) =>
    Object.fromEntries(
      Object.entries(requests).map(([what, given]) => {
        const bytes = bytesOf({ ...given, headers: [...given.headers, ...more] })
        return [
          what,
          async () => {
            const answer = await exchange(server.url, bytes, 20_000)
            expect([what, answer === null || answer.status < 500]).toEqual([what, true])
          },
        ]
      }),
    )

  test('in headers, /healthz is answered', () => holds('headers', sent(headers)))
  test('in the target, /healthz is answered', () => holds('targets', sent(targets)))
  test('in a body, /healthz is answered', () => holds('bodies', sent(openBodies)), 60_000)

  test('from somebody signed in, /healthz is answered', async () => {
    const bearer: Header = ['Authorization', `Bearer ${ann.accessToken}`]
    const list = `/api/v1/shopping-lists/${listId}`
    const accented = filled(4000, 'e\u0301')
    const inputs: Record<string, RawRequest> = {
      ...targets,
      'a list of tags': request(list, [['If-None-Match', filled(headerBytes - 1000, '"seq-1" ,')]]),
      'tags without an end': request(list, [['If-None-Match', `${filled(headerBytes - 1000, '"a" , ')}"`]]),
      'a key of quotes': posted(`${list}/items`, '{"name":"x"}', [
        ['Idempotency-Key', filled(headerBytes - 1000, '"')],
      ]),
      'a cursor': request(`${list}/items?cursor=${filled(1000, 'a.')}`),
      'items of marks': posted(
        `${list}/items`,
        `{"items":[${values(200, () => `{"name":"x","note":"${filled(4000, `e${'\u0301\u0316'.repeat(15)}`)}"}`)}]}`,
      ),
      'items of accents': posted(
        `${list}/items`,
        `{"items":[${values(200, () => `{"name":"x","note":"${accented}"}`)}]}`,
      ),
      'items of unknown fields': posted(
        `${list}/items`,
        `{"items":[${values(200, () => `{${values(32, (index) => `"k${index}":1`)}}`)}]}`,
      ),
    }
    for (const [what, body] of Object.entries(bodies))
      inputs[`items: ${what}`] = posted(`${list}/items`, body)
    await holds('signed in', sent(inputs, [bearer]))
  }, 60_000)

  test('on a socket, /healthz is answered', async () => {
    const size = 16_000
    const since = (value: string) => `{"type":"subscribe","payload":{"list_id":"${listId}","since":${value}}}`
    const frames: Record<string, string> = {
      brackets: '['.repeat(size),
      nested: `{"type":${'['.repeat(size / 2 - 20)}${']'.repeat(size / 2 - 20)}}`,
      marks: `{"type":"e${filled(size - 20, '\u0301\u0316')}"}`,
      names: `{${values(1400, (index) => `"k${index}":1`)}}`,
      'a long number': since('9'.repeat(size - 200)),
      'a long position': since(`"${'9'.repeat(size - 200)}.${'a'.repeat(8)}"`),
      'a long id': `{"type":"subscribe","payload":{"list_id":"${'0'.repeat(size - 100)}"}}`,
      'a token of dots': `{"type":"authenticate","payload":{"token":"${filled(size - 100, 'a.')}"}}`,
      blanks: ' '.repeat(size),
    }
    await holds(
      'socket frames',
      Object.fromEntries(
        Object.entries(frames).map(([what, frame]) => [
          what,
          async () => {
            const socket = await openSocket(server, ann.accessToken)
            for (let count = 0; count < 40; count++) socket.raw(frame)
            await socket.settled()
            socket.close()
            await socket.closed
          },
        ]),
      ),
    )
  })
})
