import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import pTimeout from 'p-timeout'

/** The server as postgres.js reads it from the URL. Several hosts stand for one database and are tried in order. */
export interface SocketTarget {
  readonly host: readonly string[]
  readonly port: readonly number[]
  /** Of a Unix socket. */
  readonly path: string | false
}

/** @throws the last host's error, or CONNECT_TIMEOUT */
export async function openSocket(target: SocketTarget, timeoutMs: number): Promise<Socket> {
  if (target.path !== false) return connected(connect({ path: target.path }), timeoutMs)
  let failure: unknown
  for (const [index, host] of target.host.entries()) {
    const port = target.port[index] ?? 5432
    try {
      const socket = await connected(connect({ host, port, noDelay: true }), timeoutMs)
      // postgres.js reads the name for TLS from here.
      return Object.assign(socket, { host, port })
    } catch (error) {
      failure = error
    }
  }
  throw failure
}

async function connected(socket: Socket, timeoutMs: number): Promise<Socket> {
  const fallback = (): never => {
    socket.destroy()
    throw Object.assign(new Error('Connecting to the database took too long.'), { code: 'CONNECT_TIMEOUT' })
  }
  // `once` rejects on 'error', and goes on listening for it after a timeout, when nobody else would.
  await pTimeout(once(socket, 'connect'), { milliseconds: timeoutMs, fallback })
  return socket
}
