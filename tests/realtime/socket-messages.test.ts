/** Messages and their answers: form, order, size and rate. */
import { afterEach, beforeAll, expect, test } from 'bun:test'
import { makeList, makeTenant, makeUser, type Person, type Tenant } from '../support/people.ts'
import { describeService, sharedServer, type TestServer } from '../support/server.ts'
import { closeCode, closeSockets, openSocket, type TestSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

describeService('messages of a socket', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person
  let listId: string

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant)
    listId = (await makeList(ann)).id
  })
  afterEach(closeSockets)

  const open = async (): Promise<TestSocket> => {
    const socket = await openSocket(server, ann.accessToken)
    await socket.next('connected')
    return socket
  }
  const codeOf = async (socket: TestSocket): Promise<string> => (await socket.next('error')).payload.code

  test('a ping is answered with pong {}', async () => {
    const socket = await open()
    socket.raw('{"type":"ping"}')
    expect(await socket.next('pong')).toEqual({ type: 'pong', payload: {} })
  })

  test('an id of up to 64 characters is echoed in the answer, whatever the answer is', async () => {
    const socket = await open()
    const ids = ['1', 'x'.repeat(64), '🛒'.repeat(64), 'with "quotes" and \u0000', ' ']
    for (const id of ids) {
      socket.send('ping', undefined, id)
      socket.send('subscribe', { list_id: listId }, id)
      socket.send('unsubscribe', { list_id: listId }, id)
      socket.send('authenticate', { token: ann.accessToken }, id)
      socket.send('authenticate', { token: 'bad' }, id)
      socket.send('subscribe', { list_id: crypto.randomUUID() }, id)
      socket.send('dance', {}, id)
      socket.send('subscribe', { list_id: 7 }, id)
    }
    await until(() => socket.messages.length === 1 + ids.length * 8, 'the answers')
    const answers = [
      'pong',
      'subscribed',
      'unsubscribed',
      'authenticated',
      'error',
      'error',
      'error',
      'error',
    ]
    expect(socket.messages.slice(1).map(({ type, id }) => [type, id])).toEqual(
      ids.flatMap((id) => answers.map((type) => [type, id])),
    )
    const codes = socket.messages.slice(5, 9).map(({ payload }) => payload.code)
    expect(codes).toEqual(['token_invalid', 'not_found', 'unknown_type', 'invalid_message'])
  })

  test.each([['x'.repeat(65)], ['🛒'.repeat(65)], [7], [null], [{}], [['a']]])(
    'an id like %p is refused, and not echoed',
    async (id) => {
      const socket = await open()
      socket.raw(JSON.stringify({ type: 'ping', id }))
      const answer = await socket.next('error')
      expect(answer.payload.code).toBe('invalid_message')
      expect(answer).not.toHaveProperty('id')
    },
  )

  test('an empty id is echoed too', async () => {
    const socket = await open()
    socket.raw('{"type":"ping","id":""}')
    expect(await socket.next('pong')).toEqual({ type: 'pong', payload: {}, id: '' })
  })

  test('200 messages sent in a burst are answered one by one, in order', async () => {
    const socket = await open()
    const other = (await makeList(ann)).id
    const kinds = [
      (id: string) => socket.send('ping', undefined, id),
      (id: string) => socket.send('subscribe', { list_id: listId, since: 0 }, id),
      (id: string) => socket.send('unsubscribe', { list_id: listId }, id),
      (id: string) => socket.send('subscribe', { list_id: other }, id),
      (id: string) => socket.send('authenticate', { token: ann.accessToken }, id),
      (id: string) => socket.raw(JSON.stringify({ type: 'dance', id })),
      (id: string) => socket.send('subscribe', { list_id: crypto.randomUUID() }, id),
    ]
    const ids = Array.from({ length: 200 }, (_, index) => `${index}`)
    for (const [index, id] of ids.entries()) kinds[(index * 5) % kinds.length]?.(id)
    await until(() => socket.messages.length >= 201, 'the answers')
    expect(socket.messages.slice(1).map(({ id }) => id)).toEqual(ids)
  })

  test('a binary frame is refused without closing the socket', async () => {
    const socket = await open()
    socket.raw(new TextEncoder().encode('{"type":"ping","id":"b"}'))
    const answer = await socket.next('error')
    expect(answer.payload.code).toBe('invalid_message')
    expect(answer).not.toHaveProperty('id')
    await socket.settled()
    expect(socket.messages.filter(({ type }) => type === 'pong')).toHaveLength(1)
  })

  const id = '01980000-0000-7000-8000-000000000000'
  const refused: Record<string, [string, string]> = {
    'no JSON': ['hello', 'invalid_message'],
    nothing: ['', 'invalid_message'],
    'half a message': ['{"type":"pi', 'invalid_message'],
    'a null byte': ['\u0000', 'invalid_message'],
    'two messages in a frame': ['{"type":"ping"}{"type":"ping"}', 'invalid_message'],
    'a number': ['7', 'invalid_message'],
    null: ['null', 'invalid_message'],
    'an array': ['[{"type":"ping"}]', 'invalid_message'],
    'no type': ['{}', 'invalid_message'],
    'a type that is not a string': ['{"type":["ping"]}', 'invalid_message'],
    'deep nesting': ['['.repeat(8000), 'invalid_message'],
    'an unknown type': ['{"type":"shout","payload":{}}', 'unknown_type'],
    'a type only the server sends': ['{"type":"connected","payload":{}}', 'unknown_type'],
    'a property of every object as the type': ['{"type":"toString"}', 'unknown_type'],
    'a type that targets the prototype': ['{"type":"__proto__"}', 'unknown_type'],
    'an unknown field': ['{"type":"ping","extra":1}', 'invalid_message'],
    'an unknown field in a ping': ['{"type":"ping","payload":{"x":1}}', 'invalid_message'],
    'an unknown field in the payload': [
      `{"type":"subscribe","payload":{"list_id":"${id}","x":1}}`,
      'invalid_message',
    ],
    'no payload': ['{"type":"subscribe"}', 'invalid_message'],
    'a payload that is no object': ['{"type":"subscribe","payload":[]}', 'invalid_message'],
    'a list id that is none': ['{"type":"subscribe","payload":{"list_id":"groceries"}}', 'invalid_message'],
    'a list id with a null byte': [
      `{"type":"subscribe","payload":{"list_id":"${id}\\u0000"}}`,
      'invalid_message',
    ],
    'since below 0': [`{"type":"subscribe","payload":{"list_id":"${id}","since":-1}}`, 'invalid_message'],
    'since between numbers': [
      `{"type":"subscribe","payload":{"list_id":"${id}","since":1.5}}`,
      'invalid_message',
    ],
    'since as text': [`{"type":"subscribe","payload":{"list_id":"${id}","since":"1"}}`, 'invalid_message'],
    'since beyond all numbers': [
      `{"type":"subscribe","payload":{"list_id":"${id}","since":9007199254740993}}`,
      'invalid_message',
    ],
    'a token that is no text': ['{"type":"authenticate","payload":{"token":7}}', 'invalid_message'],
  }
  test('an invalid message is refused with its reason, and the socket stays open', async () => {
    const socket = await open()
    for (const [name, [text, code]] of Object.entries(refused)) {
      socket.raw(text)
      const answer = await socket.next('error')
      expect(`${name}: ${answer.payload.code}`).toBe(`${name}: ${code}`)
      expect(Object.keys(answer.payload).sort()).toEqual(['code', 'message'])
      expect(answer.payload.message).not.toContain(id)
    }
    await socket.settled()
    expect(socket.messages).toHaveLength(2 + Object.keys(refused).length)
  })

  test('a message of 16 KiB is accepted, one byte more closes with 1009', async () => {
    const fill = (bytes: number): string => {
      const frame = { type: 'authenticate', payload: { token: '' } }
      return JSON.stringify({
        ...frame,
        payload: { token: 'x'.repeat(bytes - JSON.stringify(frame).length) },
      })
    }
    const socket = await open()
    socket.raw(fill(16 * 1024))
    expect(await codeOf(socket)).toBe('invalid_message')
    socket.raw(fill(16 * 1024 + 1))
    expect(await closeCode(socket)).toBe(1009)
  })

  test('too many messages are answered rate_limited, in order and with their id, then closed with 4008', async () => {
    const socket = await open()
    for (let index = 0; index < 250; index++) socket.send('ping', undefined, `${index}`)
    await until(() => socket.messages.length >= 251, 'the answers')
    const answers = socket.messages.slice(1)
    expect(answers.map(({ id }) => id)).toEqual(answers.map((_, index) => `${index}`))
    expect(answers.slice(0, 200).map(({ type }) => type)).toEqual(Array.from({ length: 200 }, () => 'pong'))
    expect(answers.at(-1)?.payload.code).toBe('rate_limited')
    for (let index = 0; index < 400; index++) socket.send('ping')
    expect(await closeCode(socket)).toBe(4008)
  })

  test('a rate-limited client may continue a moment later', async () => {
    const socket = await open()
    for (let index = 0; index < 230; index++) socket.send('ping')
    await socket.next('error')
    await until(async () => {
      socket.send('ping', undefined, 'later')
      await Bun.sleep(30)
      return socket.messages.some(({ type, id }) => type === 'pong' && id === 'later')
    })
  })
})
