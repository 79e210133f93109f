/** A client of /ws on plain TCP, for frames no well-behaved WebSocket sends: RFC 6455 by hand, faults included. */
import { connect } from 'node:net'
import type { SocketMessage } from './socket.ts'
import { until } from './until.ts'

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

export interface FrameOptions {
  fin?: boolean
  /** The three reserved bits, as a number. */
  reserved?: number
  masked?: boolean
  /** The length to claim in the header, if not the true one. */
  length?: bigint
}

/** One frame as a client sends it. */
export function frame(
  opcode: number,
  data: string | Uint8Array = '',
  { fin = true, reserved = 0, masked = true, length }: FrameOptions = {},
): Buffer {
  const body = Buffer.from(data)
  const size = length ?? BigInt(body.length)
  const extended = size > 0xffffn ? 8 : size > 125n ? 2 : 0
  const header = Buffer.alloc(2 + extended)
  header[0] = (fin ? 0x80 : 0) | (reserved << 4) | opcode
  header[1] = (masked ? 0x80 : 0) | (extended === 8 ? 127 : extended === 2 ? 126 : Number(size))
  if (extended === 2) header.writeUInt16BE(Number(size), 2)
  if (extended === 8) header.writeBigUInt64BE(size, 2)
  if (!masked) return Buffer.concat([header, body])
  const mask = Buffer.from([0x5a, 0xa5, 0x3c, 0xc3])
  return Buffer.concat([header, mask, body.map((byte, index) => byte ^ (mask[index & 3] ?? 0))])
}

export const textFrame = (message: unknown): Buffer =>
  frame(opcodes.text, typeof message === 'string' ? message : JSON.stringify(message))

/** A text split into the frames of one message. */
export const fragments = (parts: readonly (string | Uint8Array)[], finished = true): Buffer =>
  Buffer.concat(
    parts.map((part, index) =>
      frame(index === 0 ? opcodes.text : opcodes.continuation, part, {
        fin: finished && index === parts.length - 1,
      }),
    ),
  )

export interface ReceivedFrame {
  opcode: number
  data: Buffer
}

export interface RawSocket {
  /** The upgrade response with its headers; empty until it has arrived. */
  head(): string
  /** 101 once the socket is open, NaN before any response. */
  status(): number
  /** The response's body, if no socket was opened. */
  body(): string
  frames(): ReceivedFrame[]
  /** The text frames among them. */
  messages(): SocketMessage[]
  /** The code of the server's close frame. */
  closeCode(): number | null
  write(...chunks: (string | Uint8Array)[]): void
  /** Stops reading until `resume`. */
  pause(): void
  resume(): void
  /** Sends FIN, and keeps reading. */
  halfClose(): void
  /** The server has ended the connection. */
  ended(): boolean
  destroy(): void
}

export interface RawOptions {
  path?: string
  headers?: readonly (readonly [name: string, value: string])[]
  /** Sent in the same write, after the request. */
  behind?: Uint8Array
  /** The whole request, in place of a proper one. */
  request?: string
}

const opened = new Set<RawSocket>()

/** Closes the sockets that tests left open. */
export function closeRawSockets(): void {
  for (const socket of opened) socket.destroy()
  opened.clear()
}

/** A proper upgrade request, with additional headers. */
export const upgradeRequest = (host: string, { path = '/ws', headers = [] }: RawOptions = {}): string =>
  [
    `GET ${path} HTTP/1.1`,
    `Host: ${host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...headers.map(([name, value]) => `${name}: ${value}`),
    '\r\n',
  ].join('\r\n')

/** Connects and sends, without waiting for a response. */
export function startRaw({ url }: { url: string }, options: RawOptions = {}): RawSocket {
  const { host, hostname, port } = new URL(url)
  const connection = connect({ host: hostname, port: Number(port), allowHalfOpen: true })
  let received = Buffer.alloc(0)
  let ended = false
  connection.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
  })
  // A reset counts as an end too.
  connection.on('error', () => undefined)
  connection.on('end', () => {
    ended = true
  })
  connection.on('close', () => {
    ended = true
  })
  const split = (): number => received.indexOf('\r\n\r\n')
  const head = (): string => (split() < 0 ? '' : received.subarray(0, split()).toString())
  const status = (): number => Number(/^HTTP\/1\.1 (\d+)/.exec(head())?.[1] ?? Number.NaN)
  const rest = (): Buffer => (split() < 0 ? Buffer.alloc(0) : received.subarray(split() + 4))
  const frames = (): ReceivedFrame[] => (status() === 101 ? readFrames(rest()) : [])
  const socket: RawSocket = {
    head,
    status,
    body: () => rest().toString(),
    frames,
    messages: () =>
      frames().flatMap(({ opcode, data }) => (opcode === opcodes.text ? [JSON.parse(data.toString())] : [])),
    closeCode() {
      const last = frames().find(({ opcode }) => opcode === opcodes.close)
      return last ? last.data.readUInt16BE() : null
    },
    write: (...chunks) => void connection.write(Buffer.concat(chunks.map((chunk) => Buffer.from(chunk)))),
    pause: () => void connection.pause(),
    resume: () => void connection.resume(),
    halfClose: () => void connection.end(),
    ended: () => ended,
    destroy: () => void connection.destroy(),
  }
  opened.add(socket)
  const request = options.request ?? upgradeRequest(host, options)
  socket.write(request, options.behind ?? '')
  return socket
}

/** Opens a socket and waits for `connected`. */
export async function openRaw(
  server: { url: string },
  token: string,
  options: RawOptions = {},
): Promise<RawSocket> {
  const socket = startRaw(server, { ...options, path: `/ws?token=${token}` })
  await until(() => socket.messages().length > 0, 'the greeting', 5000)
  return socket
}

/** The frames a server sent, which are unmasked; an incomplete last one is left out. */
function readFrames(bytes: Buffer): ReceivedFrame[] {
  const frames: ReceivedFrame[] = []
  for (let at = 0; at + 2 <= bytes.length; ) {
    const short = (bytes[at + 1] ?? 0) & 0x7f
    const from = at + (short === 127 ? 10 : short === 126 ? 4 : 2)
    if (from > bytes.length) break
    const length =
      short === 127
        ? Number(bytes.readBigUInt64BE(at + 2))
        : short === 126
          ? bytes.readUInt16BE(at + 2)
          : short
    if (from + length > bytes.length) break
    frames.push({ opcode: (bytes[at] ?? 0) & 0x0f, data: bytes.subarray(from, from + length) })
    at = from + length
  }
  return frames
}
