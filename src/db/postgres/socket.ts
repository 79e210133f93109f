import { connect, type Socket } from 'node:net'

/** Where postgres.js found the server to be: several hosts stand for one database, tried in order. */
export interface SocketTarget {
  readonly host: readonly string[]
  readonly port: readonly number[]
  /** Of a Unix socket. */
  readonly path: string | false
}

/** @throws what the last host answered, or CONNECT_TIMEOUT */
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

function connected(socket: Socket, timeoutMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      socket.destroy()
      reject(
        Object.assign(new Error('Connecting to the database took too long'), { code: 'CONNECT_TIMEOUT' }),
      )
    }, timeoutMs)
    const failed = (error: Error): void => {
      clearTimeout(timer)
      reject(error)
    }
    socket.once('error', failed)
    socket.once('connect', () => {
      clearTimeout(timer)
      socket.off('error', failed)
      resolve(socket)
    })
  })
}
