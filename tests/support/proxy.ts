/** A bad network: a TCP proxy on a loopback port that holds, drops, delays, half-closes and cuts connections. */
import { createServer, type Socket, connect as tcpConnect } from 'node:net'

export type Direction = 'toServer' | 'toClient'

export interface BadNetwork {
  /** `http://127.0.0.1:PORT`, the service's URL for the client. */
  readonly url: string
  /** Connections open now. */
  open(): number
  /** Connections accepted since the start. */
  accepted(): number
  /** Sends new connections to another server; open ones stay. */
  retarget(url: string): void
  /** Delays every byte from now on. */
  delay(ms: number): void
  /** Stalls open and new connections without closing them, until `flow`. */
  hold(direction?: Direction): void
  /** Like `hold`, but discards what is sent meanwhile. Call `cut` afterwards: open connections have lost bytes. */
  drop(direction?: Direction): void
  flow(): void
  /** Resets every open connection. */
  cut(): void
  /** Sends FIN to one side of every open connection, and leaves the other direction open. */
  halfClose(seenBy: 'client' | 'server'): void
  /** Breaks open connections and refuses new ones, until `online`. */
  offline(): void
  online(): void
  /**
   * Discards the responses to the next `times` requests containing `text`, and cuts their connections. Returns a
   * function that counts the responses lost.
   */
  loseAnswersTo(text: string, times?: number): () => number
  stop(): Promise<void>
}

/** @param target the server's address, like `http://127.0.0.1:8000` */
export async function startProxy(target: string): Promise<BadNetwork> {
  let to = addressOf(target)
  let delayMs = 0
  let isOnline = true
  let accepted = 0
  const modes: Record<Direction, 'flow' | 'hold' | 'drop'> = { toServer: 'flow', toClient: 'flow' }
  const losing: { text: string; left: number; lost: number }[] = []
  const pairs = new Set<Pair>()

  const lose = (pair: Pair, chunk: Buffer, direction: Direction): boolean => {
    if (direction === 'toServer') {
      const found = losing.find(({ text, left }) => left > 0 && chunk.includes(text))
      if (found) {
        found.left--
        pair.losing = found
      }
      return false
    }
    if (!pair.losing) return false
    pair.losing.lost++
    breakOff(pair)
    return true
  }

  const pump = (pair: Pair, from: Socket, into: Socket, direction: Direction): void => {
    let line = Promise.resolve()
    /** Keeps the order, whatever the delay; the sender waits, so nothing piles up here. */
    const pass = (step: () => void): void => {
      from.pause()
      const dueAt = performance.now() + delayMs
      line = line.then(async () => {
        await Bun.sleep(Math.max(0, dueAt - performance.now()))
        while (modes[direction] === 'hold' && pairs.has(pair)) await Bun.sleep(5)
        if (!pairs.has(pair)) return
        step()
        from.resume()
      })
    }
    from.on('data', (chunk: Buffer) => {
      if (modes[direction] === 'drop' || lose(pair, chunk, direction)) return
      pass(() => {
        if (into.writable) into.write(chunk)
      })
    })
    from.on('end', () => pass(() => into.end()))
    from.on('close', () => {
      if (from.readableEnded) pass(() => undefined)
      else breakOff(pair)
    })
    // Broken connections are the purpose of this proxy; `close` follows.
    from.on('error', () => undefined)
  }

  const breakOff = (pair: Pair): void => {
    pairs.delete(pair)
    for (const socket of [pair.client, pair.server]) {
      if (typeof socket.resetAndDestroy === 'function') socket.resetAndDestroy()
      else socket.destroy()
    }
  }

  const listener = createServer({ allowHalfOpen: true }, (client) => {
    accepted++
    if (!isOnline) {
      client.destroy()
      return
    }
    const server = tcpConnect({ ...to, allowHalfOpen: true })
    const pair: Pair = { client, server, losing: null }
    pairs.add(pair)
    const forget = (): void => {
      if (client.destroyed && server.destroyed) pairs.delete(pair)
    }
    client.on('close', forget)
    server.on('close', forget)
    pump(pair, client, server, 'toServer')
    pump(pair, server, client, 'toClient')
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const address = listener.address()
  if (address === null || typeof address === 'string') throw new Error('the proxy did not start')

  const set = (mode: 'flow' | 'hold' | 'drop', direction?: Direction): void => {
    if (direction !== 'toClient') modes.toServer = mode
    if (direction !== 'toServer') modes.toClient = mode
  }
  const cut = (): void => {
    for (const pair of [...pairs]) breakOff(pair)
  }

  return {
    url: `http://127.0.0.1:${address.port}`,
    open: () => pairs.size,
    accepted: () => accepted,
    retarget: (url) => {
      to = addressOf(url)
    },
    delay: (ms) => {
      delayMs = ms
    },
    hold: (direction) => set('hold', direction),
    drop: (direction) => set('drop', direction),
    flow: () => set('flow'),
    cut,
    halfClose(seenBy) {
      for (const pair of pairs) pair[seenBy].end()
    },
    offline() {
      isOnline = false
      cut()
    },
    online() {
      isOnline = true
    },
    loseAnswersTo(text, times = 1) {
      const entry = { text, left: times, lost: 0 }
      losing.push(entry)
      return () => entry.lost
    },
    async stop() {
      cut()
      await new Promise<void>((resolve) => listener.close(() => resolve()))
    },
  }
}

interface Pair {
  client: Socket
  server: Socket
  losing: { lost: number } | null
}

const addressOf = (url: string): { host: string; port: number } => {
  const { hostname, port } = new URL(url)
  return { host: hostname, port: Number(port) }
}
