/** Subscribing while others write: whoever joins, whenever and wherever, misses nothing and gets nothing twice. */
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { addItem, makeList, makeTenant, makeUser, type Person } from '../support/people.ts'
import { rounds } from '../support/rounds.ts'
import {
  describeBackends,
  describeFull,
  sharedServer,
  startInstance,
  type TestServer,
} from '../support/server.ts'
import { closeSockets, openSocket, type TestSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

const subscribers = 30
const races = rounds('RACE', { suite: 1, long: 30 })

describeBackends('subscribers who join while others write', (backend) => {
  let servers: TestServer[]
  let people: Person[]

  beforeAll(async () => {
    const home = await sharedServer(backend)
    servers = backend === 'full' ? [home, await startInstance(home), await startInstance(home)] : [home]
    const tenant = await makeTenant(home)
    people = [tenant.admin, await makeUser(home, tenant, { role: 'tenant_admin' })]
  })
  afterEach(closeSockets)
  afterAll(() => Promise.all(servers.slice(1).map((server) => server.stop())))

  const pick = <T>(from: readonly T[], random: () => number): T => {
    const picked = from[Math.floor(random() * from.length)]
    if (picked === undefined) throw new Error('nothing to pick from')
    return picked
  }

  test.each(Array.from({ length: races }, (_, index) => index + 1))(
    'round %i: each gets exactly since + 1 to the end, in order, once',
    async (round) => {
      const seed = round * 7919
      let state = seed
      const random = (): number => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0
        return state / 2 ** 32
      }
      const writer = pick(people, random)
      const { id } = await makeList(writer)
      let last = 0
      let writing = true
      const write = async (): Promise<void> => {
        while (writing) {
          const person = pick(people, random)
          if (random() < 0.3) {
            const items = Array.from({ length: 1 + Math.floor(random() * 20) }, () => ({ name: 'x' }))
            await person.api.post(`/shopping-lists/${id}/items`, { items })
          } else await addItem(person, id)
        }
      }
      const writers = [write(), write(), write()]
      await until(async () => {
        last = (await writer.api.get(`/shopping-lists/${id}`)).body.seq
        return last > 60
      })
      const joined: { socket: TestSocket; since: number }[] = await Promise.all(
        Array.from({ length: subscribers }, async () => {
          const socket = await openSocket(pick(servers, random), pick(people, random).accessToken)
          const given = random() < 0.8 ? Math.floor(random() * last) : undefined
          // Some were subscribed already, left, and come back.
          for (let before = 0; before < Math.floor(random() * 3); before++) {
            await socket.follow(id)
            socket.send('unsubscribe', { list_id: id })
            await socket.next('unsubscribed')
          }
          const heardBefore = socket.seqs(id).length
          const { payload } = await socket.follow(id, given)
          expect(payload.recovered).toBe(given !== undefined)
          const own = { ...socket, seqs: (listId: string) => socket.seqs(listId).slice(heardBefore) }
          return { socket: own, since: given ?? payload.seq }
        }),
      )
      const reached = Math.max(...joined.map(({ since }) => since)) + 30
      await until(() => joined.some(({ socket }) => (socket.seqs(id).at(-1) ?? 0) > reached))
      writing = false
      await Promise.all(writers)
      const end: number = (await writer.api.get(`/shopping-lists/${id}`)).body.seq
      await until(() => joined.every(({ socket }) => socket.seqs(id).at(-1) === end), 'the end at everyone')
      for (const { socket, since } of joined)
        expect({ seed, seqs: socket.seqs(id) }).toEqual({
          seed,
          seqs: Array.from({ length: end - since }, (_, index) => since + index + 1),
        })
    },
    60_000,
  )
})

describeFull('an event of another instance', () => {
  test('arrives through Redis, not by reconciling, also after the last subscriber left and came right back', async () => {
    const home = await sharedServer('full')
    const away = await startInstance(home)
    try {
      const { admin } = await makeTenant(home)
      const { id } = await makeList(admin)
      const socket = await openSocket(away, admin.accessToken)
      for (let seq = 1; seq <= 10; seq++) {
        await socket.follow(id)
        await addItem(admin, id)
        expect((await socket.next('item_added', 1000)).seq).toBe(seq)
        if (seq % 2 === 0) socket.send('unsubscribe', { list_id: id })
      }
      expect(away.running.deps.live.hub.counts()).toMatchObject({ healed: 0, published: 0, delivered: 10 })
    } finally {
      closeSockets()
      await away.stop()
    }
  })
})
