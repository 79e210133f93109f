/** Clients that do not read are cut off, at no cost to others; one that reads a long history is not mistaken for one. */
import { afterEach, beforeAll, expect, test } from 'bun:test'
import { connect, type Socket } from 'node:net'
import { limits } from '../../src/realtime/limits.ts'
import { closeCodes } from '../../src/realtime/protocol.ts'
import { websocketOptions } from '../../src/realtime/routes.ts'
import { addItem, makeList, makeTenant, type Person } from '../support/people.ts'
import { startRaw } from '../support/raw-socket.ts'
import { describeService, sharedServer, type TestServer } from '../support/server.ts'
import { closeSockets, openSocket, socketUrl } from '../support/socket.ts'
import { until } from '../support/until.ts'

/** A client on plain TCP that counts what it reads, and can pause. */
interface Reader {
  bytes(): number
  ended(): boolean
  /** The code of the close frame, if the last bytes are one. */
  closeCode(): number | null
  pause(): void
  resume(): void
  destroy(): void
}

async function openReader(server: TestServer, token: string, messages: object[]): Promise<Reader> {
  const url = new URL(socketUrl(server.url, token))
  const socket: Socket = connect({ host: url.hostname, port: Number(url.port) })
  let bytes = 0
  let ended = false
  let tail = Buffer.alloc(0)
  socket.on('data', (chunk) => {
    bytes += chunk.length
    const data = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    tail = Buffer.concat([tail, data]).subarray(-200)
  })
  socket.on('error', () => undefined)
  socket.on('close', () => {
    ended = true
  })
  socket.write(
    `GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  )
  await until(() => bytes > 0, 'the upgrade')
  for (const message of messages) socket.write(masked(JSON.stringify(message)))
  return {
    bytes: () => bytes,
    ended: () => ended,
    closeCode: () => {
      const at = tail.lastIndexOf(0x88)
      return at < 0 ? null : tail.readUInt16BE(at + 2)
    },
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    destroy: () => socket.destroy(),
  }
}

/** A client's text frame of up to 125 bytes; the mask is zero. */
const masked = (text: string): Buffer =>
  Buffer.concat([Buffer.from([0x81, 0x80 | Buffer.byteLength(text), 0, 0, 0, 0]), Buffer.from(text)])

describeService('a client that stops reading', (backend) => {
  let server: TestServer
  let ann: Person
  /** A thousand of them fit on a list. */
  const bigNote = '🛒'.repeat(1000)

  beforeAll(async () => {
    server = await sharedServer(backend)
    ann = (await makeTenant(server)).admin
  })
  afterEach(closeSockets)

  const sockets = (): number => server.running.deps.live.sockets.counts().sockets
  const batch = (listId: string, count: number) =>
    ann.api.post(`/shopping-lists/${listId}/items`, {
      items: Array.from({ length: count }, () => ({ name: 'x', note: bigNote })),
    })

  test('is cut off once its unsent backlog exceeds the limit; others get everything, and resuming loses nothing', async () => {
    const { id } = await makeList(ann)
    const healthy = await openSocket(server, ann.accessToken)
    await healthy.follow(id)
    const before = sockets()
    const subscribe = { type: 'subscribe', payload: { list_id: id } }
    const readers = await Promise.all([1, 2, 3].map(() => openReader(server, ann.accessToken, [subscribe])))
    await until(() => readers.every((reader) => reader.bytes() > 400), 'their subscriptions')
    for (const reader of readers) reader.pause()
    expect(sockets()).toBe(before + 3)
    const added = await batch(id, 50)
    expect(added.status).toBe(201)
    let sent = 50
    // Changed rather than added: the list would be full before the backlog is large enough.
    for (let turn = 0; sockets() > before && turn < 100; turn++) {
      const changes = added.body.data.map((item: { id: string }) =>
        ann.api.patch(`/items/${item.id}`, { note: `${bigNote}${turn}` }),
      )
      for (const { status } of await Promise.all(changes)) expect(status).toBe(200)
      sent += 50
      await until(() => healthy.seqs(id).length >= sent, 'the events at the healthy one', 5000)
    }
    await until(() => sockets() === before, 'the end of the slow ones')
    await healthy.settled()
    expect(healthy.seqs(id)).toEqual(Array.from({ length: sent }, (_, index) => index + 1))
    for (const reader of readers) reader.resume()
    await until(() => readers.every((reader) => reader.ended()), 'their close')
    for (const reader of readers) expect([null, 4013]).toContain(reader.closeCode() === 4013 ? 4013 : null)
    const back = await openSocket(server, ann.accessToken)
    await back.follow(id, 0)
    await until(() => back.seqs(id).length >= sent, 'all of it')
    expect(back.seqs(id)).toEqual(healthy.seqs(id))
  }, 60_000)

  test("during a replay delays its replay and does not fill the server's memory", async () => {
    const { id } = await makeList(ann)
    for (let made = 0; made < 1000; made += 100) await batch(id, 100)
    const subscribe = { type: 'subscribe', payload: { list_id: id, since: 0 } }
    const readers = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const reader = await openReader(server, ann.accessToken, [subscribe])
        reader.pause()
        return reader
      }),
    )
    await addItem(ann, id)
    const healthy = await openSocket(server, ann.accessToken)
    await healthy.follow(id, 0)
    await until(() => healthy.seqs(id).length === 1001, 'the replay of the healthy one')
    expect(healthy.isOpen()).toBe(true)
    // Each reads a bit now and then: slow, yet never over the limit.
    for (const reader of readers) reader.resume()
    const wholeHistory = 1000 * Buffer.byteLength(bigNote)
    await until(
      () => readers.every((reader) => reader.bytes() > wholeHistory || reader.ended()),
      'their replay',
    )
    expect(readers.map((reader) => reader.ended())).toEqual(readers.map(() => false))
    for (const reader of readers) reader.destroy()
  }, 60_000)
})

// Tests the transport alone: a client cannot see how much a server has yet to send.
test('a client closed with a megabyte unsent gets all of it, then the close frame', async () => {
  const text = 'x'.repeat(16_000)
  let sent = 0
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: (request, self) => (self.upgrade(request) ? undefined : new Response()),
    websocket: {
      ...websocketOptions,
      open(socket) {
        for (; socket.getBufferedAmount() <= limits.unsentBytes; sent++) socket.send(text)
        socket.close(closeCodes.tooSlow.code, closeCodes.tooSlow.reason)
      },
      message: () => undefined,
    },
  })
  const slow = startRaw({ url: `http://127.0.0.1:${server.port}` })
  slow.pause()
  await until(() => sent > limits.unsentBytes / text.length, 'the backlog')
  slow.resume()
  await until(() => slow.ended(), 'its end')
  // Together, so that a failure tells what came instead.
  expect({ closeCode: slow.closeCode(), frames: slow.frames().length }).toEqual({
    closeCode: 4013,
    frames: sent + 1,
  })
  slow.destroy()
  await server.stop(true)
})
