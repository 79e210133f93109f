/** Unusable bodies: each is refused with its own status, as problem+json, and none causes a 500. */
import { afterAll, expect, test } from 'bun:test'
import { makeList, makeTenant, type Person } from '../support/people.ts'
import { type Backend, describeService, sharedServer } from '../support/server.ts'

const mebibyte = 1024 * 1024
const encode = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text))

interface Poster {
  person: Person
  post(body: RequestInit['body'], headers?: Record<string, string>, path?: string): Promise<Response>
}

const posters = new Map<Backend, Promise<Poster>>()

/** Length of the shared server's log at the start; earlier lines belong to other files. */
const loggedBefore = new Map<Backend, number>()

const posterOf = (backend: Backend): Promise<Poster> => {
  const poster = posters.get(backend) ?? makePoster(backend)
  posters.set(backend, poster)
  return poster
}

async function makePoster(backend: Backend): Promise<Poster> {
  const server = await sharedServer(backend)
  loggedBefore.set(backend, server.log.lines.length)
  const { admin: person } = await makeTenant(server, 'Bad bodies')
  return {
    person,
    post: (body, headers = { 'content-type': 'application/json' }, path = '/shopping-lists') =>
      fetch(`${server.url}/api/v1${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${person.accessToken}`, ...headers },
        body,
      }),
  }
}

/** Checks an answer against RFC 9457 and the contract, and returns its body. */
async function problem(response: Response, status: number, code: string) {
  const text = await response.text()
  expect(response.status, text).toBe(status)
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  const body = JSON.parse(text)
  expect(body).toMatchObject({
    type: `urn:minimart:problem:${code}`,
    title: expect.stringMatching(/./),
    status,
    detail: expect.stringMatching(/./),
    code,
    request_id: response.headers.get('x-request-id'),
  })
  return body
}

/** A valid body padded to exactly this many bytes. */
const bodyOf = (bytes: number): Uint8Array<ArrayBuffer> => {
  const body = encode('{"name":"Big"}'.padEnd(bytes, ' '))
  expect(body.length).toBe(bytes)
  return body
}

/** Sends the body chunked, without a length. */
const chunked = (body: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> =>
  new ReadableStream({
    start(controller) {
      for (let at = 0; at < body.length; at += 65_536) controller.enqueue(body.subarray(at, at + 65_536))
      controller.close()
    },
  })

describeService('a body', (backend) => {
  test('that is not well-formed JSON in UTF-8 is malformed', async () => {
    const { post } = await posterOf(backend)
    const bad = [
      ...['', ' ', '{', '{"name":"A"', '{"name":"A"}x', '{"name":"A",}', "{'name':'A'}", '{name:"A"}'],
      ...['{"name":NaN}', '{"name":"\n"}', '{"name":"\\x"}', '{"name":01}', 'undefined', '{"name":"A"}{}'],
      '['.repeat(50_000),
      '{"a":'.repeat(50_000),
    ].map(encode)
    const invalidUtf8 = Buffer.concat([encode('{"name":"'), new Uint8Array([0xff, 0xc0, 0x80]), encode('"}')])
    const utf16 = Buffer.from('{"name":"A"}', 'utf16le')
    const zipped = Bun.gzipSync('{"name":"A"}')
    for (const body of [...bad, new Uint8Array(invalidUtf8), new Uint8Array(utf16), zipped])
      await problem(await post(body), 400, 'malformed_json')
    await problem(await post(null), 400, 'malformed_json')
  })

  test('may begin with a byte order mark', async () => {
    const { post } = await posterOf(backend)
    const response = await post(encode('\ufeff{"name":"Marked"}'))
    expect(response.status).toBe(201)
    expect(await response.text()).toContain('"Marked"')
  })

  test('that is JSON but not an object is invalid', async () => {
    const { post } = await posterOf(backend)
    for (const text of ['null', '[]', '[{"name":"A"}]', '"name"', '1', 'true', '1e400']) {
      const body = await problem(await post(encode(text)), 422, 'invalid')
      expect(body.errors).toEqual([{ field: 'body', message: expect.any(String) }])
    }
  })

  test('nested 50,000 deep is refused immediately', async () => {
    const { post } = await posterOf(backend)
    const deep = [
      '['.repeat(50_000) + ']'.repeat(50_000),
      '{"a":'.repeat(50_000).concat('1', '}'.repeat(50_000)),
    ]
    const startedAt = performance.now()
    for (const value of deep)
      for (const text of [value, `{"name":${value}}`, `{"name":"A","x":${value}}`, `{"items":[${value}]}`])
        await problem(await post(encode(text)), 422, 'invalid')
    expect(performance.now() - startedAt).toBeLessThan(5000)
  })

  test('with hundreds of thousands of errors is refused immediately and reports a hundred at most', async () => {
    const { person, post } = await posterOf(backend)
    const { id } = await makeList(person)
    const many = (value: string) => Array(Math.floor(900_000 / (value.length + 1))).fill(value)
    const startedAt = performance.now()
    const items = await post(encode(`{"items":[${many('{}')}]}`), undefined, `/shopping-lists/${id}/items`)
    expect((await problem(items, 422, 'invalid')).errors.length).toBeLessThanOrEqual(100)
    const fields = many('')
      .map((_, index) => `"k${index}":1`)
      .slice(0, 80_000)
    const unknown = await problem(await post(encode(`{${fields}}`)), 422, 'invalid')
    expect(unknown.errors.length).toBeLessThanOrEqual(100)
    await problem(await post(encode(`{"name":[${many('1')}]}`)), 422, 'invalid')
    expect(performance.now() - startedAt).toBeLessThan(1200)
  })

  test('with out-of-range numbers is refused by name', async () => {
    const { person, post } = await posterOf(backend)
    const { id } = await makeList(person)
    for (const number of ['1e400', '-1e400', '1e308', '-1', '0', '1000000.001', '1.0001', '9'.repeat(4000)]) {
      const body = encode(`{"name":"A","quantity":${number}}`)
      const answer = await problem(await post(body, undefined, `/shopping-lists/${id}/items`), 422, 'invalid')
      expect(answer.errors[0].field).toBe('quantity')
    }
  })

  test('that is not declared as JSON in UTF-8 is not parsed', async () => {
    const { post } = await posterOf(backend)
    const refused = [
      ...[
        'application/x-www-form-urlencoded',
        'text/plain',
        'text/plain;charset=UTF-8',
        'text/json',
        '',
        'json',
      ],
      ...[
        'multipart/form-data; boundary=x',
        'application/octet-stream',
        'application/jsonp',
        'application/xml',
      ],
      ...['application/json; charset=utf-16', 'application/json; charset=iso-8859-1', '*/*', 'application/*'],
      ...['application/json; x=y; charset=latin1', 'application/json, text/plain', 'application/jsonx'],
    ]
    for (const type of refused)
      await problem(await post(encode('{"name":"A"}'), { 'content-type': type }), 415, 'not_json')
    await problem(await post(encode('{"name":"A"}'), {}), 415, 'not_json')
    const form = new URLSearchParams({ name: 'A' })
    await problem(await post(form, {}), 415, 'not_json')
    const accepted = [
      ...['application/json', 'Application/JSON', 'application/json;charset=utf-8', 'application/json ; x=y'],
      ...['application/json; charset="UTF-8"', 'application/merge-patch+json'],
    ]
    for (const type of accepted)
      expect((await post(encode('{"name":"A"}'), { 'content-type': type })).status, type).toBe(201)
  })

  test('sent as a form cannot sign in, so that no other site can sign anyone in', async () => {
    const { person } = await posterOf(backend)
    const { url } = await sharedServer(backend)
    const { email, password } = person
    const bodies = [new URLSearchParams({ email, password }), JSON.stringify({ email, password })]
    for (const body of bodies)
      await problem(await fetch(`${url}/api/v1/auth/login`, { method: 'POST', body }), 415, 'not_json')
  })

  test('may have 1 MiB and not a byte more, whether or not its length is declared', async () => {
    const { post } = await posterOf(backend)
    expect((await post(bodyOf(mebibyte))).status).toBe(201)
    expect((await post(chunked(bodyOf(mebibyte)))).status).toBe(201)
    await problem(await post(bodyOf(mebibyte + 1)), 413, 'body_too_large')
    await problem(await post(chunked(bodyOf(mebibyte + 1))), 413, 'body_too_large')
  })

  test('of 130 MB is refused like any that is too large, and the service survives', async () => {
    const { post } = await posterOf(backend)
    await problem(await post(new Uint8Array(130_000_000)), 413, 'body_too_large')
    await problem(await post(chunked(new Uint8Array(130_000_000))), 413, 'body_too_large')
    expect((await post(encode('{"name":"After"}'))).status).toBe(201)
  })

  test('that is missing is fine where none is needed, whatever Content-Type is declared', async () => {
    const { person, post } = await posterOf(backend)
    const types: Record<string, string>[] = [{}, { 'content-type': 'application/json' }]
    for (const headers of types) {
      const { id } = await makeList(person)
      const cleared = await post(null, headers, `/shopping-lists/${id}/items/clear-purchased`)
      expect(cleared.status).toBe(200)
      expect((await person.api.delete(`/shopping-lists/${id}`, { headers })).status).toBe(204)
      expect((await post(null, headers, `/shopping-lists/${id}/restore`)).status).toBe(200)
    }
    const read = await person.api.get('/auth/me', { headers: { 'content-type': 'text/plain' } })
    expect(read.status).toBe(200)
  })
})

afterAll(async () => {
  for (const [backend, before] of loggedBefore) {
    const { log } = await sharedServer(backend)
    expect(log.lines.slice(before).filter(({ level }) => level === 'error')).toEqual([])
  }
})
