/** Subscribing again: the new subscription replaces the old one, unless it fails. */
import { afterEach, expect, test } from 'bun:test'
import { addItem, makeList, makeTenant } from '../support/people.ts'
import { describePrivatePostgres, startPostgres } from '../support/postgres.ts'
import { describeFull, sharedServer, startServer } from '../support/server.ts'
import { closeSockets, openSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

describeFull('a repeated subscribe', () => {
  afterEach(closeSockets)

  test('while others write continues from the sequence number it names, without duplicates', async () => {
    const server = await sharedServer('full')
    const { admin } = await makeTenant(server)
    const { id } = await makeList(admin)
    const socket = await openSocket(server, admin.accessToken)
    let writing = true
    const write = async (): Promise<void> => {
      while (writing) await addItem(admin, id)
    }
    await socket.follow(id)
    const writers = [write(), write(), write()]
    for (let time = 0; time < 100; time++) await socket.follow(id)
    writing = false
    await Promise.all(writers)
    const end: number = (await admin.api.get(`/shopping-lists/${id}`)).body.seq
    await until(() => socket.seqs(id).at(-1) === end, 'the last event')
    let last = 0
    for (const { type, seq, payload } of socket.messages)
      if (type === 'subscribed') {
        expect(payload.seq).toBeGreaterThanOrEqual(last)
        last = payload.seq
      } else if (seq !== undefined) expect(seq).toBe(++last)
  }, 30_000)
})

describePrivatePostgres('a repeated subscribe that fails', () => {
  afterEach(closeSockets)

  test('because the database is down keeps the current subscription', async () => {
    const postgres = await startPostgres()
    const database = await postgres.createDatabase()
    const server = await startServer('full', { DATABASE_URL: database.url })
    try {
      const { admin } = await makeTenant(server)
      const { id } = await makeList(admin)
      const socket = await openSocket(server, admin.accessToken)
      await socket.follow(id)
      await addItem(admin, id)
      await socket.next('item_added')
      await postgres.stop('crash')
      for (const since of [undefined, 0]) {
        socket.send('subscribe', { list_id: id, ...(since === undefined ? {} : { since }) })
        expect((await socket.next('error', 20_000)).payload).toMatchObject({
          code: 'unavailable',
          list_id: id,
        })
      }
      await postgres.start()
      await until(async () => (await fetch(`${server.url}/readyz`)).ok, 'ready again')
      await addItem(admin, id)
      await until(() => socket.seqs(id).includes(2), 'the event after the outage')
      expect(socket.seqs(id)).toEqual([1, 2])
      expect(socket.messages.map(({ type }) => type)).not.toContain('unsubscribed')
    } finally {
      closeSockets()
      await server.stop()
      await postgres.end()
    }
  }, 60_000)
})
