/** What is asked for over a socket counts under RATE_LIMIT_API. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join, makeList, makeTenant, makeUser, type Person } from '../support/people.ts'
import { describeBackends, startServer, type TestServer } from '../support/server.ts'
import { closeSockets, openSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

const allowed = 30

describeBackends('subscribing', (backend) => {
  let server: TestServer
  let ann: Person
  let ben: Person
  let list: { id: string }
  beforeAll(async () => {
    // By the day, so that nothing is refilled meanwhile.
    server = await startServer(backend, { RATE_LIMIT_API: `${allowed}/day` })
    const tenant = await makeTenant(server)
    ann = tenant.admin
    ben = await makeUser(server, tenant)
    list = await makeList(ann)
    await join(ann, list.id, ben)
    const items = Array.from({ length: 200 }, () => ({ name: 'Milk' }))
    for (let count = 0; count < 5; count++)
      expect((await ann.api.post(`/shopping-lists/${list.id}/items`, { items })).status).toBe(201)
  })
  afterAll(async () => {
    closeSockets()
    await server.stop()
  })

  const remaining = async (person: Person): Promise<number> =>
    Number((await person.api.get('/auth/me')).headers.get('ratelimit-remaining'))

  test('counts as one call, and as one more for each 500 events; past it the socket says when to try again', async () => {
    const socket = await openSocket(server, ben.accessToken)
    const before = await remaining(ben)
    await socket.follow(list.id)
    await socket.follow(list.id, 900)
    // The call that asks counts itself.
    expect(await remaining(ben)).toBe(before - 3)
    await socket.follow(list.id, 0)
    expect(await remaining(ben)).toBe(before - 3 - 4)
    await until(() => socket.seqs(list.id).length === 101 + 1001, 'all events')

    for (let left = (await remaining(ben)) - 1; left > 0; left--) await socket.follow(list.id)
    // One call is left, and the events would count as two more.
    const seen = socket.messages.length
    socket.send('subscribe', { list_id: list.id, since: 0 }, 'too much')
    const refused = await socket.next('error')
    expect(refused).toMatchObject({ id: 'too much', payload: { code: 'rate_limited', list_id: list.id } })
    expect(refused.payload.retry_after).toBeWithin(1, 86_400)
    socket.send('subscribe', { list_id: list.id })
    expect((await socket.next('error')).payload.code).toBe('rate_limited')
    expect(socket.messages).toHaveLength(seen + 2)
    expect((await ben.api.get('/auth/me')).status).toBe(429)
    // The subscription from before goes on, and so does the socket.
    await ann.api.post(`/shopping-lists/${list.id}/items`, { name: 'Bread' })
    await until(() => socket.seqs(list.id).at(-1) === 1002, 'the live event')
    await socket.settled()
  })
})
