/** HTTP over a bare TCP connection: sends exactly the given bytes, and reads whatever comes back. */
import { connect, type Socket } from 'node:net'

export interface RawAnswer {
  status: number
  /** Names in lower case. */
  headers: Map<string, string>
  body: Buffer
}

export interface RawRequest {
  method: string
  /** Exactly as in the request line. */
  target: string
  headers: [name: string, value: string][]
  body: Uint8Array | null
  chunked?: boolean
}

/** The request's bytes. Header values are sent as Latin-1, so that any byte can be sent. */
export function bytesOf({ method, target, headers, body, chunked = false }: RawRequest): Buffer {
  const framing =
    body === null ? [] : [chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`]
  const head = [
    `${method} ${target} HTTP/1.1`,
    'Host: localhost',
    'Connection: close',
    ...headers.map(([name, value]) => `${name}: ${value}`),
    ...framing,
    '',
    '',
  ].join('\r\n')
  return Buffer.concat([
    Buffer.from(head, 'latin1'),
    ...(body === null ? [] : chunked ? inChunks(body) : [body]),
  ])
}

function inChunks(body: Uint8Array): Uint8Array[] {
  const half = Math.ceil(body.length / 2)
  const parts = [body.subarray(0, half), body.subarray(half)].filter((part) => part.length > 0)
  return [
    ...parts.flatMap((part) => [Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n')]),
    Buffer.from('0\r\n\r\n'),
  ]
}

/**
 * Sends the bytes and reads until the response is complete or the connection is closed. Null: closed without a response.
 * @throws Error if neither has happened by the deadline
 */
export function exchange(url: string, bytes: Uint8Array, deadlineMs: number): Promise<RawAnswer | null> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(Number(port), hostname)
    const received: Buffer[] = []
    const finish = (settle: () => void): void => {
      clearTimeout(timer)
      socket.destroy()
      settle()
    }
    const timer = setTimeout(
      () => finish(() => reject(new Error(`no whole answer within ${deadlineMs} ms`))),
      deadlineMs,
    )
    const look = (ended: boolean): void => {
      const answer = parseAnswer(Buffer.concat(received), ended)
      if (answer !== undefined || ended) finish(() => resolve(answer ?? null))
    }
    socket.on('connect', () => socket.write(bytes))
    socket.on('data', (chunk) => {
      received.push(Buffer.from(chunk))
      look(false)
    })
    socket.on('end', () => look(true))
    // The server may respond and close while the request is still being sent.
    socket.on('error', () => look(true))
  })
}

/** Undefined while incomplete. */
function parseAnswer(bytes: Buffer, ended: boolean): RawAnswer | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const [statusLine = '', ...lines] = bytes.subarray(0, headEnd).toString('latin1').split('\r\n')
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(statusLine)?.[1])
  if (status >= 100 && status < 200) return parseAnswer(bytes.subarray(headEnd + 4), ended)
  const headers = new Map(
    lines.map((line) => [
      line.slice(0, line.indexOf(':')).toLowerCase(),
      line.slice(line.indexOf(':') + 1).trim(),
    ]),
  )
  const rest = bytes.subarray(headEnd + 4)
  const length = headers.get('content-length')
  const bare = status === 204 || status === 304
  if (bare) return { status, headers, body: rest }
  if (length !== undefined)
    return rest.length >= Number(length) || ended ? { status, headers, body: rest } : undefined
  return ended ? { status, headers, body: rest } : undefined
}
