/**
 * The simplest client that follows the contract: it remembers the last sequence number of each list, reconnects after
 * every close with a random pause, to whatever instance it is sent, and subscribes with `since`.
 */

import type { Random } from './random.ts'
import { createReplica, type Incoming, type Replica, readMessage, type Snapshot } from './replica.ts'

/** A subscriber's view of a list. */
export type Known = Pick<Replica, 'listId' | 'seq' | 'differences'>

export interface Subscriber {
  readonly name: string
  readonly replicas: ReadonlyMap<string, Known>
  /** How often it has connected. */
  connections(): number
  /** Closes the socket and reconnects. */
  hop(): void
  /** Unsubscribes, and subscribes again with `since` once that is answered. */
  pause(listId: string): void
  stop(): void
}

export interface SubscriberOptions {
  name: string
  token: string
  /** Where to connect next. */
  route: () => string
  random: Random
  /** The initial state of each list; null: from its creation. */
  lists: ReadonlyMap<string, Snapshot | null>
  problem: (text: string) => void
  /** Gives the connection up after so long without a message. */
  silenceTimeoutMs?: number
}

const defaultSilenceTimeoutMs = 3000
const [minPauseMs, maxPauseMs] = [20, 300]
const [minRetryMs, maxRetryMs] = [100, 400]
/** A broken connection; too slow; restarting. */
const fineCloses = new Set([1000, 1005, 1006, 1012, 4013])

export function startSubscriber(options: SubscriberOptions): Subscriber {
  const { name, token, route, random, silenceTimeoutMs = defaultSilenceTimeoutMs } = options
  const problem = (text: string): void => options.problem(`${name}: ${text}`)
  const replicas = new Map([...options.lists].map(([id, from]) => [id, createReplica(id, from, problem)]))
  let socket: WebSocket | null = null
  let connections = 0
  let lastMessageAt = 0
  let stopped = false
  /** Lists whose events may arrive: between `subscribed` and `unsubscribed`. */
  const open = new Set<string>()
  /** Lists whose `unsubscribe` has not been answered. */
  const leaving = new Set<string>()

  const connect = (): void => {
    if (stopped) return
    connections++
    lastMessageAt = performance.now()
    open.clear()
    leaving.clear()
    const url = `${route().replace('http', 'ws')}/ws`
    const made = random.chance(0.5)
      ? new WebSocket(`${url}?token=${token}`)
      : new WebSocket(url, ['minimart.v1', `bearer.${token}`])
    socket = made
    made.onmessage = ({ data }) => {
      if (socket === made) receive(data)
    }
    made.onclose = ({ code }) => {
      if (!fineCloses.has(code)) problem(`closed with ${code}`)
      if (socket === made) comeBack()
    }
    made.onerror = () => undefined
  }

  const comeBack = (): void => {
    socket = null
    setTimeout(connect, random.between(minPauseMs, maxPauseMs))
  }

  const leave = (): void => {
    const left = socket
    if (!left) return
    comeBack()
    left.terminate()
  }

  const send = (message: object): void => {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message))
  }

  const subscribe = (listId: string): void => {
    const since = replicas.get(listId)?.seq() ?? 0
    send({ type: 'subscribe', payload: { list_id: listId, since }, id: listId })
  }

  const receive = (data: unknown): void => {
    lastMessageAt = performance.now()
    const message = readMessage(data)
    if (message.type === 'connected') for (const listId of replicas.keys()) subscribe(listId)
    else if (message.type === 'error') refused(message)
    else if (message.type !== 'pong') {
      const replica = replicas.get(String(message.payload['list_id']))
      if (replica) handle(replica, message)
      else problem(`a message about a strange list: ${message.type}`)
    }
  }

  const handle = (replica: Replica, message: Incoming): void => {
    const { listId } = replica
    if (message.type === 'subscribed') begun(replica, message)
    else if (message.type === 'unsubscribed') {
      open.delete(listId)
      leaving.delete(listId)
      subscribe(listId)
    } else if (message.seq === undefined) problem(`received ${message.type}`)
    else {
      if (!open.has(listId)) problem(`event ${message.seq} of a list without a subscription`)
      replica.apply(message)
    }
  }

  const begun = (replica: Replica, { payload }: Incoming): void => {
    open.add(replica.listId)
    if (payload['recovered'] !== true) problem(`not recovered from ${replica.seq()}`)
    if (Number(payload['seq']) < replica.seq())
      problem(`the list is at ${payload['seq']}, after ${replica.seq()} was seen`)
  }

  const refused = ({ payload, id }: Incoming): void => {
    if (payload['code'] !== 'unavailable' || id === undefined) problem(`was refused: ${payload['code']}`)
    else {
      const asked = socket
      const again = (): void => {
        if (socket === asked) subscribe(id)
      }
      open.delete(id)
      setTimeout(again, random.between(minRetryMs, maxRetryMs))
    }
  }

  const timer = setInterval(() => {
    const silentMs = performance.now() - lastMessageAt
    if (silentMs > silenceTimeoutMs) leave()
    else if (silentMs > silenceTimeoutMs / 3) send({ type: 'ping' })
  }, silenceTimeoutMs / 6)

  connect()
  return {
    name,
    replicas,
    connections: () => connections,
    hop: leave,
    pause(listId) {
      if (!open.has(listId) || leaving.has(listId)) return
      leaving.add(listId)
      send({ type: 'unsubscribe', payload: { list_id: listId } })
    },
    stop() {
      stopped = true
      clearInterval(timer)
      const left = socket
      socket = null
      left?.terminate()
    },
  }
}
