/** Frames no proper client sends: each gets RFC 6455's response, at no cost to the server or to anyone else. */
import { afterEach, beforeAll, describe, expect, spyOn, test } from 'bun:test'
import { deflateRawSync } from 'node:zlib'
import { limits } from '../../src/realtime/limits.ts'
import { makeTenant, type Person } from '../support/people.ts'
import {
  closeRawSockets,
  fragments,
  frame,
  opcodes,
  openRaw,
  type RawSocket,
  startRaw,
  textFrame,
} from '../support/raw-socket.ts'
import { sharedServer, type TestServer } from '../support/server.ts'
import { closeSockets, openSocket, settledCounts } from '../support/socket.ts'
import { until } from '../support/until.ts'

const { continuation, text, binary, close, ping, pong } = opcodes
const most = limits.messageBytes
const message = '{"type":"ping","id":"whole"}'
/** A ping padded to that many bytes. */
const sized = (bytes: number): string => message + ' '.repeat(bytes - message.length)
const halves = (bytes: number): string[] => [sized(bytes).slice(0, 8192), sized(bytes).slice(8192)]
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
const bomb = deflateRawSync(Buffer.alloc(10_000_000, ' ')).subarray(0, 10_000)

/** By the close code that RFC 6455 prescribes. */
const closing: Record<number, Record<string, Uint8Array>> = {
  1002: {
    'no mask': frame(text, message, { masked: false }),
    'the first reserved bit: compressed, as was never agreed': frame(text, bomb, { reserved: 4 }),
    'the second reserved bit': frame(text, message, { reserved: 2 }),
    'the third reserved bit': frame(text, message, { reserved: 1 }),
    ...Object.fromEntries(
      [3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => [
        `reserved opcode ${opcode}`,
        frame(opcode, message),
      ]),
    ),
    'a ping too long': frame(ping, 'x'.repeat(126)),
    'a ping in pieces': frame(ping, 'x', { fin: false }),
    'a continuation of nothing': frame(continuation, message),
    'a message inside another': Buffer.concat([frame(text, '{', { fin: false }), frame(text, message)]),
    'a close of one byte': frame(close, bytes(3)),
    'a close with a code that is never sent': frame(close, bytes(3, 0xed)),
    'a request in place of a frame': Buffer.from('GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n'),
  },
  1007: {
    'bytes that are no UTF-8': frame(text, bytes(0xff, 0xfe)),
    'a surrogate in UTF-8': frame(text, bytes(0x22, 0xed, 0xa0, 0x80, 0x22)),
    'an overlong slash': frame(text, bytes(0x22, 0xc0, 0xaf, 0x22)),
    'half a character at the end': fragments([bytes(0x22, 0xe2), bytes(0x82)]),
    'a reason that is no UTF-8': frame(close, bytes(3, 0xe8, 0xff)),
  },
  1009: {
    'one byte too many': frame(text, sized(most + 1)),
    'one byte too many in a binary frame': frame(binary, sized(most + 1)),
    'one byte too many in two pieces': fragments(halves(most + 1)),
    'one byte too many before the end': fragments(halves(most + 1), false),
    'one byte too many in a thousand pieces': fragments(
      Array.from({ length: 1001 }, () => '.'.repeat(17)),
      false,
    ),
    'a length of a gigabyte': frame(text, 'x', { length: 1n << 30n }),
    'a length below zero': frame(text, 'x', { length: 1n << 63n }),
    'the greatest length': frame(text, 'x', { length: (1n << 64n) - 1n }),
  },
}

const surviving: Record<string, Uint8Array> = {
  'a message in pieces, with control frames between': Buffer.concat([
    frame(text, message.slice(0, 5), { fin: false }),
    frame(ping, 'x'.repeat(125)),
    frame(continuation, message.slice(5, 9), { fin: false }),
    frame(pong),
    frame(continuation, message.slice(9)),
  ]),
  'the longest message, in pieces': fragments(halves(most)),
  'a message of one-byte pieces': fragments([...message]),
  'a message of empty pieces': fragments([...Array.from({ length: 5000 }, () => ''), message, '', '']),
  'a character cut in two': fragments(['{"type":"ping","id":"', bytes(0xe2, 0x82), bytes(0xac), '"}']),
  'a length written longer than need be': Buffer.concat([
    bytes(0x81, 0xfe, 0, message.length, 0, 0, 0, 0),
    Buffer.from(message),
  ]),
}

// Frames are read before any backend is used.
describe('the wire', () => {
  let server: TestServer
  let ann: Person
  beforeAll(async () => {
    server = await sharedServer('embedded')
    ann = (await makeTenant(server)).admin
  })
  afterEach(() => {
    closeSockets()
    closeRawSockets()
  })

  const pongs = (socket: RawSocket): number => socket.messages().filter(({ type }) => type === 'pong').length

  for (const [code, faults] of Object.entries(closing))
    test(`closes with ${code} on each such fault, without an answer, and no one else is affected`, async () => {
      const witness = await openSocket(server, ann.accessToken)
      const before = await settledCounts(server)
      const ends: Record<string, unknown> = {}
      for (const [name, sent] of Object.entries(faults)) {
        const socket = await openRaw(server, ann.accessToken)
        // Nothing after a fault is read.
        socket.write(sent, textFrame(message))
        await until(() => socket.ended(), `the end after ${name}`, 5000)
        ends[name] = [socket.closeCode(), socket.messages().length]
      }
      expect(ends).toEqual(Object.fromEntries(Object.keys(faults).map((name) => [name, [Number(code), 1]])))
      expect(await settledCounts(server)).toEqual(before)
      await witness.settled()
    })

  test('reassembles fragments, and answers the message once', async () => {
    for (const [name, sent] of Object.entries(surviving)) {
      const socket = await openRaw(server, ann.accessToken)
      socket.write(sent)
      await until(() => pongs(socket) === 1, `the answer to ${name}`, 5000)
      socket.write(textFrame({ type: 'ping', id: 'after' }))
      await until(() => pongs(socket) === 2, `life after ${name}`, 5000)
      expect(socket.ended()).toBe(false)
    }
  })

  test('is not kept open by a message that never ends', async () => {
    const socket = await openRaw(server, ann.accessToken)
    const half = await openRaw(server, ann.accessToken)
    half.write(frame(text, message, { length: 5000n }))
    const { now } = performance
    const clock = spyOn(performance, 'now')
    clock.mockImplementation(() => now.call(performance) + (limits.silenceSeconds + 1) * 1000)
    try {
      socket.write(fragments(['', '', '{', '', ''], false))
      await until(() => socket.ended() && half.ended(), 'the end of both', 5000)
    } finally {
      clock.mockRestore()
    }
    expect([socket.closeCode(), half.closeCode()]).toEqual([4010, 4010])
  })

  test('never negotiates compression, so there are no decompression bombs', async () => {
    for (const offer of [
      'permessage-deflate',
      'permessage-deflate; client_max_window_bits; server_no_context_takeover',
      'x-webkit-deflate-frame',
      'permessage-bzip2, permessage-deflate',
    ]) {
      const socket = await openRaw(server, ann.accessToken, {
        headers: [['Sec-WebSocket-Extensions', offer]],
      })
      expect(socket.head().toLowerCase()).not.toContain('sec-websocket-extensions')
      socket.write(frame(text, bomb, { reserved: 4 }))
      await until(() => socket.ended(), 'the end', 5000)
      expect([socket.closeCode(), socket.messages().length]).toEqual([1002, 1])
    }
  })

  test('drops a client that only half-closes, and one that ends in the middle of a frame', async () => {
    const before = await settledCounts(server)
    const halfOpen = await openRaw(server, ann.accessToken)
    halfOpen.halfClose()
    const broken = await openRaw(server, ann.accessToken)
    broken.write(frame(text, message).subarray(0, 9))
    broken.destroy()
    await until(() => halfOpen.ended(), 'its end', 5000)
    expect(await settledCounts(server)).toEqual(before)
  })

  test('ignores what is sent before the upgrade response, as RFC 6455 requires', async () => {
    const before = await settledCounts(server)
    const early: Record<string, Uint8Array> = {
      'a message': textFrame(message),
      'two messages': Buffer.concat([textFrame(message), textFrame(message)]),
      'a request': Buffer.from('GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n'),
      'half a frame': bytes(0x81),
    }
    for (const [name, behind] of Object.entries(early))
      for (const token of [ann.accessToken, 'bad']) {
        const socket = startRaw(server, { path: `/ws?token=${token}`, behind })
        await until(() => socket.ended(), `the end after ${name}`, 5000)
        expect(socket.messages()).toEqual([])
        expect(`${socket.head()}${socket.body()}`).not.toContain(' 200 ')
      }
    expect(await settledCounts(server)).toEqual(before)
  })
})
