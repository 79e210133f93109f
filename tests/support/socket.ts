/** A bare client of /ws that records what comes over the wire, in order, unfiltered. */
import type { TestServer } from './server.ts'
import { until } from './until.ts'

export interface SocketMessage {
  type: string
  // biome-ignore lint/suspicious/noExplicitAny: payloads of every shape; tests say which they expect.
  payload: any
  id?: string
  /** Only events have these. */
  seq?: number
  at?: string
  actor_id?: string
}

export interface TestSocket {
  /** The subprotocol that the server chose, or empty. */
  readonly protocol: string
  /** Every message received, in order. */
  readonly messages: readonly SocketMessage[]
  /** Sends a message; `raw` sends any frame. */
  send(type: string, payload?: unknown, id?: string): void
  raw(frame: string | Uint8Array): void
  /** The next message of this type after the last one `next` returned; others in between are skipped. */
  next(type: string, timeoutMs?: number): Promise<SocketMessage>
  /** Subscribes and waits for the answer. */
  follow(listId: string, since?: number): Promise<SocketMessage>
  /** Sequence numbers of the list's events so far, as received. */
  seqs(listId: string): number[]
  events(listId: string): SocketMessage[]
  /** Sends a ping and waits for the pong: everything the server sent before has then arrived. */
  settled(): Promise<void>
  readonly closed: Promise<{ code: number; reason: string }>
  isOpen(): boolean
  close(): void
}

export interface OpenOptions {
  /** How to pass the token. */
  via?: 'query' | 'subprotocol'
  headers?: Record<string, string>
}

const answerMs = 20_000
const opened = new Set<TestSocket>()

/** Closes the sockets that tests left open. */
export function closeSockets(): void {
  for (const socket of opened) socket.close()
  opened.clear()
}

export const socketUrl = (url: string, token?: string): string =>
  `${url.replace(/^http/, 'ws')}/ws${token === undefined ? '' : `?token=${encodeURIComponent(token)}`}`

/** @param token undefined sends none @throws Error if the upgrade is refused */
export async function openSocket(
  { url }: { url: string },
  token: string | undefined,
  { via = 'query', headers = {} }: OpenOptions = {},
): Promise<TestSocket> {
  const inUrl = via === 'query' ? token : undefined
  const protocols = via === 'subprotocol' ? ['minimart.v1', `bearer.${token}`] : []
  const webSocket = new WebSocket(socketUrl(url, inUrl), { headers, protocols })
  const messages: SocketMessage[] = []
  let taken = 0
  const opening = Promise.withResolvers<void>()
  const ending = Promise.withResolvers<{ code: number; reason: string }>()
  webSocket.addEventListener('open', () => opening.resolve())
  webSocket.addEventListener('error', () => opening.reject(new Error('the socket did not open')))
  webSocket.addEventListener('close', ({ code, reason }) => ending.resolve({ code, reason }))
  webSocket.addEventListener('message', ({ data }) => messages.push(JSON.parse(String(data))))

  const next = (type: string, timeoutMs = answerMs): Promise<SocketMessage> =>
    until(
      () => {
        const index = messages.findIndex((message, at) => at >= taken && message.type === type)
        if (index < 0) return null
        taken = index + 1
        return messages[index]
      },
      `${type}, after ${JSON.stringify(messages.slice(taken)).slice(0, 500)},`,
      timeoutMs,
    )
  const send = (type: string, payload?: unknown, id?: string): void =>
    webSocket.send(
      JSON.stringify({ type, ...(payload === undefined ? {} : { payload }), ...(id ? { id } : {}) }),
    )
  const events = (listId: string): SocketMessage[] =>
    messages.filter(({ seq, payload }) => seq !== undefined && payload.list_id === listId)

  await opening.promise
  const socket: TestSocket = {
    protocol: webSocket.protocol,
    messages,
    send,
    raw: (frame) => webSocket.send(frame),
    next,
    follow(listId, since) {
      send('subscribe', { list_id: listId, ...(since === undefined ? {} : { since }) })
      return next('subscribed')
    },
    seqs: (listId) => events(listId).map(({ seq }) => seq ?? 0),
    events,
    async settled() {
      const id = crypto.randomUUID()
      send('ping', undefined, id)
      await until(() => messages.some((message) => message.id === id), 'the answer to a ping')
    },
    closed: ending.promise,
    isOpen: () => webSocket.readyState === WebSocket.OPEN,
    close: () => webSocket.close(),
  }
  opened.add(socket)
  return socket
}

/** What is open on a server, once the sockets closed by earlier tests are gone. */
export async function settledCounts({ running }: Pick<TestServer, 'running'>) {
  const { hub, sockets } = running.deps.live
  const counts = () => ({ ...sockets.counts(), streams: hub.counts().streams })
  let last = counts()
  let same = 0
  await until(() => {
    const now = counts()
    same = Bun.deepEquals(now, last) ? same + 1 : 0
    last = now
    return same >= 3
  }, 'sockets to settle')
  return last
}

/** The close code; fails if the socket is still open at the timeout. */
export async function closeCode(socket: TestSocket, timeoutMs = answerMs): Promise<number> {
  let code: number | undefined
  void socket.closed.then((closed) => {
    code = closed.code
  })
  return until(() => code, 'the end of the socket', timeoutMs)
}
