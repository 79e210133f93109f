/** Whole lists and replays are read a few at a time (src/access/reading-lines.ts). */
import { afterEach, beforeAll, expect, test } from 'bun:test'
import type { Place } from '../../../src/access/reading-lines.ts'
import type { Answer } from '../../support/client.ts'
import { addItem, join, makeList, makeTenant, makeUser, type Person } from '../../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../../support/server.ts'
import { closeSockets, openSocket } from '../../support/socket.ts'
import { until } from '../../support/until.ts'

describeBackends('while a user has as many large reads going as they may', (backend) => {
  let server: TestServer
  let ann: Person
  let ben: Person
  let list: { id: string }
  const held: Place[] = []

  beforeAll(async () => {
    server = await sharedServer(backend)
    const tenant = await makeTenant(server)
    ann = tenant.admin
    ben = await makeUser(server, tenant)
    list = await makeList(ann)
    await join(ann, list.id, ben)
    for (let count = 0; count < 3; count++) await addItem(ann, list.id)
  })
  afterEach(() => {
    letGo()
    closeSockets()
  })

  const lines = () => server.running.deps.lines
  const letGo = (): void => {
    for (const place of held.splice(0)) place.leave()
  }
  /** Takes all of Ann's places. */
  const occupy = async (name: 'lists' | 'replays'): Promise<void> => {
    const actor = await server.running.deps.tokens.read(ann.accessToken).then(({ actor }) => actor)
    const { signal } = new AbortController()
    for (;;) {
      const place = lines()[name].enterNow(actor, signal)
      if (place === null) return
      held.push(place)
    }
  }
  const waiting = (name: 'lists' | 'replays', count: number) =>
    until(() => lines()[name].counts().waiting === count, `${count} in line`)

  test('the next list waits; another user does not, nor does anything else', async () => {
    await occupy('lists')
    const late: Answer[] = []
    const reads = [1, 2, 3].map(() => ann.api.get(`/shopping-lists/${list.id}`).then((one) => late.push(one)))
    await waiting('lists', 3)
    expect((await ben.api.get(`/shopping-lists/${list.id}`)).status).toBe(200)
    expect((await ann.api.get(`/shopping-lists/${list.id}/items`)).status).toBe(200)
    expect((await ann.api.get(`/shopping-lists/${list.id}/events`)).status).toBe(200)
    expect(late).toEqual([])
    letGo()
    await Promise.all(reads)
    expect(late.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(lines().lists.counts()).toMatchObject({ held: 0, waiting: 0 })
  })

  test('a list that has not changed answers 304 all the same; one that has changed waits', async () => {
    const { headers } = await ann.api.get(`/shopping-lists/${list.id}`)
    const known = headers.get('etag') ?? ''
    await occupy('lists')
    for (const tag of [known, `"seq-1.00000000", ${known}`, '*']) {
      const answer = await ann.api.get(`/shopping-lists/${list.id}`, { headers: { 'if-none-match': tag } })
      expect([answer.status, answer.headers.get('etag')]).toEqual([304, known])
    }
    const changed = ann.api.get(`/shopping-lists/${list.id}`, { headers: { 'if-none-match': '"seq-1"' } })
    await waiting('lists', 1)
    letGo()
    expect((await changed).status).toBe(200)
  })

  test('a client that hangs up leaves the line', async () => {
    await occupy('lists')
    const leaving = new AbortController()
    const read = fetch(`${server.url}/api/v1/shopping-lists/${list.id}`, {
      headers: { authorization: `Bearer ${ann.accessToken}` },
      signal: leaving.signal,
    }).catch(() => null)
    await waiting('lists', 1)
    leaving.abort()
    expect(await read).toBeNull()
    await waiting('lists', 0)
  })

  test('past a hundred in line the answer is 503 with Retry-After', async () => {
    await occupy('lists')
    const { actor } = await server.running.deps.tokens.read(ann.accessToken)
    const leaving = new AbortController()
    const crowd = Array.from({ length: 100 }, () =>
      lines()
        .lists.enter(actor, leaving.signal)
        .catch(() => null),
    )
    await waiting('lists', 100)
    const refused = await ann.api.get(`/shopping-lists/${list.id}`)
    expect([refused.status, refused.body.code, refused.headers.get('retry-after')]).toEqual([
      503,
      'busy',
      '2',
    ])
    expect((await ben.api.get(`/shopping-lists/${list.id}`)).status).toBe(200)
    leaving.abort()
    await Promise.all(crowd)
  })

  test('missed events wait, over HTTP and on a socket, which answers in the order asked', async () => {
    const socket = await openSocket(server, ann.accessToken)
    const theirs = await openSocket(server, ben.accessToken)
    await occupy('replays')
    const events = ann.api.get(`/shopping-lists/${list.id}/events`)
    socket.send('subscribe', { list_id: list.id, since: 0 }, 'late')
    socket.send('ping', undefined, 'after')
    await waiting('replays', 2)
    expect((await theirs.follow(list.id, 0)).payload.recovered).toBe(true)
    // Whoever missed nothing has no need of a place.
    const live = await openSocket(server, ann.accessToken)
    await live.follow(list.id)
    expect(socket.messages.map(({ type }) => type)).toEqual(['connected'])
    letGo()
    expect((await events).body.complete).toBe(true)
    await until(() => socket.messages.some(({ id }) => id === 'after'), 'the pong')
    expect(socket.messages.map(({ type }) => type)).toEqual([
      ...['connected', 'subscribed', 'member_joined', 'item_added', 'item_added', 'item_added', 'pong'],
    ])
    await until(() => lines().replays.counts().held === 0, 'free places')
  })

  test('a socket that closes leaves the line', async () => {
    const socket = await openSocket(server, ann.accessToken)
    await occupy('replays')
    socket.send('subscribe', { list_id: list.id, since: 0 })
    await waiting('replays', 1)
    socket.close()
    await waiting('replays', 0)
    letGo()
    expect(lines().replays.counts().held).toBe(0)
  })
})
