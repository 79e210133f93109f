/**
 * Every message type of the protocol with every hostile variant its schema suggests. The cases come from the protocol's
 * own table: a type or field added later is attacked as well, or the suite fails.
 */
import { afterEach, beforeAll, expect, test } from 'bun:test'
import type { ClientMessage } from '../../src/realtime/protocol.ts'
import { fieldsOf, idFieldsOf, malformed, messageTypes } from '../support/hostile-messages.ts'
import { addItem, makeList, makeTenant, makeUser, type Person, type Tenant } from '../support/people.ts'
import { describeService, sharedServer, type TestServer } from '../support/server.ts'
import { closeSockets, openSocket, settledCounts, type TestSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

type Type = ClientMessage['type']

/** As many as a socket may send in a burst. */
const burst = 190

describeService('a hostile message', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person
  let own: string
  /** Ids of other users' objects, of none, or of another kind. */
  let foreign: Record<string, string>
  let neighbours: { person: Person; listId: string }[]

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant)
    const ben = await makeUser(server, tenant)
    const stranger = (await makeTenant(server)).admin
    const lists = await Promise.all([ann, ann, ben, stranger].map((person) => makeList(person)))
    const [mine, gone, bens, strangers] = lists.map(({ id }) => id)
    own = mine ?? ''
    expect((await ann.api.delete(`/shopping-lists/${gone}`)).status).toBe(204)
    neighbours = [
      { person: ben, listId: bens ?? '' },
      { person: stranger, listId: strangers ?? '' },
    ]
    foreign = {
      "another member's list": bens ?? '',
      "another tenant's list": strangers ?? '',
      "another tenant's list, in capitals": (strangers ?? '').toUpperCase(),
      'a deleted list': gone ?? '',
      'an item of the own list': (await addItem(ann, own)).id,
      "another tenant's item": (await addItem(stranger, strangers ?? '')).id,
      oneself: ann.id,
      "another tenant's user": stranger.id,
      'the own tenant': tenant.id,
      'the lowest id': '00000000-0000-0000-0000-000000000000',
      'the highest id': 'ffffffff-ffff-ffff-ffff-ffffffffffff',
      'an id of another version': crypto.randomUUID(),
    }
  })
  afterEach(closeSockets)

  /** A valid payload for each type; the suite does not compile if one is missing. */
  const sound = (): Record<Type, Record<string, string>> => ({
    subscribe: { list_id: own },
    unsubscribe: { list_id: own },
    authenticate: { token: ann.accessToken },
    ping: {},
  })
  const open = async (): Promise<TestSocket> => {
    const socket = await openSocket(server, ann.accessToken)
    await socket.next('connected')
    return socket
  }
  /** Sends frames in bursts within the limit and returns the answers, one per frame, in order. */
  const ask = async (frames: readonly string[]): Promise<TestSocket['messages']> => {
    const answers: TestSocket['messages'][number][] = []
    for (let from = 0; from < frames.length; from += burst) {
      const some = frames.slice(from, from + burst)
      const socket = await open()
      for (const frame of some) socket.raw(frame)
      await until(() => socket.messages.length > some.length, 'the answers')
      await socket.settled()
      expect(socket.messages).toHaveLength(some.length + 2)
      answers.push(...socket.messages.slice(1, -1))
      socket.close()
    }
    return answers
  }

  test('has a valid counterpart for every type, which covers every field', async () => {
    expect(Object.keys(sound()).toSorted()).toEqual([...messageTypes].toSorted())
    const answers = await ask(
      messageTypes.map((type) => JSON.stringify({ type, payload: sound()[type], id: type })),
    )
    expect(answers.map(({ type, id }) => [id, type === 'error'])).toEqual(
      messageTypes.map((type) => [type, false]),
    )
    for (const type of messageTypes)
      expect(Object.keys(fieldsOf(type))).toEqual(expect.arrayContaining(Object.keys(sound()[type])))
  })

  for (const type of messageTypes)
    test(`of type ${type} is answered invalid_message with its id, says nothing else and does nothing`, async () => {
      const cases = malformed(type, sound()[type])
      const before = await settledCounts(server)
      const answers = await ask(cases.map(({ body }, index) => `{${body},"id":"${index}"}`))
      const found = cases.map(({ name }, index) => ({ name, answer: answers[index] }))
      const message = `This is not a valid message of type ${type}.`
      expect(found).toEqual(
        cases.map(({ name }, index) => ({
          name,
          answer: { type: 'error', payload: { code: 'invalid_message', message }, id: String(index) },
        })),
      )
      expect(await settledCounts(server)).toEqual(before)
      expect({}).not.toHaveProperty('isAdmin')
    })

  for (const type of messageTypes)
    for (const field of idFieldsOf(type))
      test(`of type ${type} with a foreign ${field} is answered byte for byte as for one that exists nowhere`, async () => {
        const nobodys = '01980000-0000-7000-8000-00000000dead'
        const before = await settledCounts(server)
        const variants = Object.keys(fieldsOf(type)).includes('since')
          ? [{}, { since: 0 }, { since: 7 }, { since: Number.MAX_SAFE_INTEGER }]
          : [{}]
        for (const extra of variants) {
          const ids = { nobodys, ...foreign }
          const answers = await ask(
            Object.entries(ids).map(([name, id]) =>
              JSON.stringify({ type, payload: { ...sound()[type], ...extra, [field]: id }, id: name }),
            ),
          )
          const [expected] = answers
          expect(['not_found', undefined]).toContain(expected?.payload.code)
          expect(JSON.stringify(expected?.payload)).toContain(nobodys)
          const bare = answers.map((answer, index) =>
            JSON.stringify({ ...answer, id: '' }).replaceAll(
              (Object.values(ids)[index] ?? '').toLowerCase(),
              nobodys,
            ),
          )
          expect(bare).toEqual(bare.map(() => JSON.stringify({ ...expected, id: '' })))
        }
        expect(await settledCounts(server)).toEqual(before)
      })

  test('that names two lists is authorized for the one it would get', async () => {
    const [, stranger] = neighbours
    const ids = (first: string, last: string) => `{"list_id":"${first}","list_id":"${last}"}`
    const answers = await ask([
      `{"type":"subscribe","payload":${ids(own, stranger?.listId ?? '')}}`,
      `{"type":"subscribe","payload":{"list_id":"${own}"},"payload":{"list_id":"${stranger?.listId}"}}`,
      `{"type":"subscribe","type":"unsubscribe","payload":${ids(own, stranger?.listId ?? '')}}`,
    ])
    expect(answers.map(({ type, payload }) => [type, payload.list_id])).toEqual([
      ['error', stranger?.listId],
      ['error', stranger?.listId],
      ['unsubscribed', stranger?.listId],
    ])
  })

  test("to subscribe to others' lists receives nothing of them, whatever happens", async () => {
    const socket = await open()
    for (const since of [undefined, 0])
      for (const id of Object.values(foreign)) socket.send('subscribe', { list_id: id, since })
    await socket.settled()
    for (const { person, listId } of neighbours) {
      const witness = await openSocket(server, person.accessToken)
      await witness.follow(listId)
      await addItem(person, listId)
      await witness.next('item_added')
    }
    await socket.settled()
    expect(new Set(socket.messages.map(({ type }) => type))).toEqual(new Set(['connected', 'error', 'pong']))
  })

  test('with an odd but valid id or number is handled like any other', async () => {
    const id = ['\\ud800', '\\udc00\\ud800', '__proto__', '\\u202e', '<script>', '\\r\\nSet-Cookie: a=b']
    const since = ['-0', '0.0', '1e0', '0e400', '1E+0', '9007199254740991']
    const answers = await ask(id.map((text) => `{"type":"ping","id":"${text}"}`))
    expect(answers).toEqual(id.map((text) => ({ type: 'pong', payload: {}, id: JSON.parse(`"${text}"`) })))
    for (const number of since) {
      const socket = await open()
      socket.raw(`{"type":"subscribe","payload":{"list_id":"${own}","since":${number}}}`)
      const { payload } = await socket.next('subscribed')
      expect(payload.recovered).toBe(Number(number) <= payload.seq)
    }
  })
})
