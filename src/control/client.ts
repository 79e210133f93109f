import { connect, type Socket } from 'node:net'
import { BackupRefused } from '../backup/refused.ts'
import { controlSocket } from './address.ts'
import { type CopyMade, copyRequest, readReply } from './messages.ts'

export interface CopyLine {
  copy: CopyMade
  /** Aborted when the server went away, and the copy with it. */
  gone: AbortSignal
  /** Lets the server remove the copy. */
  release(): void
}

/**
 * Asks the server that has the data folder for a copy, and waits for it.
 * @param asked called when a server is there
 * @returns null where nobody listens
 * @throws BackupRefused when the server says no or goes away
 */
export async function requestCopy(dataDir: string, asked: () => void): Promise<CopyLine | null> {
  const socket = await reach(controlSocket(dataDir))
  if (socket === null) return null
  asked()
  const gone = new AbortController()
  socket.on('error', () => undefined)
  socket.on('close', () => gone.abort(new BackupRefused('The server stopped meanwhile. Try again.')))
  socket.write(`${JSON.stringify(copyRequest)}\n`)
  try {
    const reply = readReply(await firstLine(socket, gone.signal))
    if (reply === null)
      throw new BackupRefused('The server answered something unknown: is it of another release?')
    if ('refused' in reply) throw new BackupRefused(reply.refused)
    return { copy: reply.copied, gone: gone.signal, release: () => socket.destroy() }
  } catch (error) {
    socket.destroy()
    throw error
  }
}

const nobodyThere: ReadonlySet<unknown> = new Set(['ENOENT', 'ECONNREFUSED', 'ENOTSOCK'])

async function reach(path: string): Promise<Socket | null> {
  const socket = connect(path)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  socket.once('connect', resolve)
  socket.once('error', reject)
  try {
    await promise
    return socket
  } catch (error) {
    socket.destroy()
    if (error instanceof Error && 'code' in error && nobodyThere.has(error.code)) return null
    throw error
  }
}

/** However long it takes: the server may have gigabytes to copy. */
async function firstLine(socket: Socket, gone: AbortSignal): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  let text = ''
  socket.setEncoding('utf8')
  socket.on('data', (chunk: string) => {
    text += chunk
    if (text.includes('\n')) resolve(text)
  })
  gone.addEventListener('abort', () => reject(gone.reason), { once: true })
  return await promise
}
