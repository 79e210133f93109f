/** Faults of the service or the network, played by a socket that tampers with messages. */
import { beforeAll, expect, test } from 'bun:test'
import { type ClientMessage, type MiniMart, stateOf } from '../../src/client/index.ts'
import type { ServerMessage } from '../../src/client/messages.ts'
import { addItem, join, makeList, makeTenant, makeUser, type Person, type Tenant } from '../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'
import { clientOf, comparable, watch } from './setup.ts'
import { type Tampering, tampered } from './tampering.ts'

describeBackends('a subscribed list under faults', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person
  let ben: Person
  let id = ''
  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant, { name: 'Ann' })
    ben = await makeUser(server, tenant, { name: 'Ben' })
  })

  const follow = async (rules: Tampering) => {
    id = (await makeList(ann)).id
    await join(ann, id, ben)
    const mart: MiniMart = await clientOf(ben, server.url, { WebSocket: tampered(rules) })
    return { mart, seen: watch(mart, id) }
  }
  const isRight = async (state: Parameters<typeof comparable>[0]) =>
    expect(comparable(state)).toEqual(comparable(stateOf((await ben.api.get(`/shopping-lists/${id}`)).body)))
  const add = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n++) await addItem(ann, id, { name: `Item ${n}` })
  }

  test('a missing event is requested when the next one arrives', async () => {
    let lost = 0
    const sent: ClientMessage[] = []
    const { mart, seen } = await follow({
      incoming: (message) => ('seq' in message && message.seq === 3 && lost++ === 0 ? [] : [message]),
      outgoing: (message) => {
        sent.push(message)
        return message
      },
    })
    await seen.reaches(1)
    await add(3)
    await isRight(await seen.reaches(4))
    expect(seen.events.map(({ seq }) => seq)).toEqual([2, 3, 4])
    expect(sent.filter(({ type }) => type === 'subscribe')).toMatchObject([
      { payload: { since: expect.stringMatching(/^1\./) } },
      { payload: { since: expect.stringMatching(/^2\./) } },
    ])
    mart.close()
  })

  test('a gap that stays is bridged by a new snapshot', async () => {
    const { mart, seen } = await follow({
      incoming: (message) => ('seq' in message && message.seq === 3 ? [] : [message]),
    })
    await seen.reaches(1)
    await add(4)
    await isRight(await seen.reaches(5))
    mart.close()
  })

  test('duplicate and late events are applied once', async () => {
    const kept: ServerMessage[] = []
    const { mart, seen } = await follow({
      incoming(message) {
        if (!('seq' in message)) return [message]
        kept.push(message)
        return [message, ...kept]
      },
    })
    await seen.reaches(1)
    await add(4)
    await isRight(await seen.reaches(5))
    expect(seen.events.map(({ seq }) => seq)).toEqual([2, 3, 4, 5])
    mart.close()
  })

  test('resync_required brings a new snapshot, and events that arrive meanwhile are applied to it', async () => {
    let tampering = true
    const { mart, seen } = await follow({
      outgoing: (message) =>
        tampering && message.type === 'subscribe'
          ? { ...message, payload: { ...message.payload, since: 1_000_000 } }
          : message,
    })
    await add(3)
    await isRight(await seen.reaches(4))
    tampering = false
    await add(1)
    await isRight(await seen.reaches(5))
    expect(seen.states.map(({ seq }) => seq)).toEqual(
      seen.states.map(({ seq }) => seq).toSorted((a, b) => a - b),
    )
    mart.close()
  })

  test('a list set back, as by a restore, is shown as it is', async () => {
    const { mart, seen } = await follow({
      incoming: (message) => [message],
    })
    await seen.reaches(1)
    mart.close()
    const ahead = await clientOf(ben, server.url, {
      fetch: async (url, init) => {
        const answer = await fetch(url, init)
        if (!url.endsWith(id) || reads++ > 0) return answer
        const lost = { seq: 77, position: '77.9f3ac01b', name: 'Lost' }
        return new Response(JSON.stringify({ ...JSON.parse(await answer.text()), ...lost }))
      },
    })
    let reads = 0
    const other = watch(ahead, id)
    await until(() => other.status().phase === 'live' && other.state().seq === 1, 'the state of now')
    await isRight(other.state())
    ahead.close()
  })

  test('a subscription that fails or is never answered is retried', async () => {
    let tries = 0
    const { mart, seen } = await follow({
      outgoing: (message) => (message.type === 'subscribe' && ++tries === 1 ? null : message),
      incoming: (message) =>
        message.type === 'subscribed' && tries === 2
          ? [
              {
                type: 'error',
                payload: { code: 'unavailable', message: '…' },
                ...(message.id ? { id: message.id } : {}),
              },
            ]
          : [message],
    })
    await seen.reaches(1)
    await add(1)
    await isRight(await seen.reaches(2))
    expect(tries).toBe(3)
    mart.close()
  })

  test('a failed snapshot is retried', async () => {
    let reads = 0
    id = (await makeList(ann)).id
    const mart = await clientOf(ann, server.url, {
      fetch: (url, init) =>
        url.endsWith(id) && reads++ < 8 ? Promise.reject(new TypeError('no network')) : fetch(url, init),
    })
    const seen = watch(mart, id)
    await seen.becomes('live')
    expect(reads).toBeGreaterThan(8)
    mart.close()
  })

  test('messages and events of a newer service are ignored', async () => {
    const { mart, seen } = await follow({
      incoming: (message) => [
        message,
        { type: 'weather', payload: { sky: 'blue' } } as unknown as ServerMessage,
        'no message at all' as unknown as ServerMessage,
      ],
    })
    await seen.reaches(1)
    await add(2)
    await isRight(await seen.reaches(3))
    mart.close()
  })

  test('a handler that throws does not affect others', async () => {
    const caught: unknown[] = []
    id = (await makeList(ann)).id
    const mart = await clientOf(ann, server.url, { onHandlerError: (error) => caught.push(error) })
    const seen = watch(mart, id)
    mart.subscribe(id, {
      onState: () => {
        throw new Error('of the handler')
      },
    })
    await seen.becomes('live')
    await add(1)
    await seen.reaches(1)
    expect(caught.length).toBeGreaterThanOrEqual(1)
    expect(caught[0]).toEqual(new Error('of the handler'))
    mart.close()
  })
})
