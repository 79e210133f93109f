import { connect, type Socket } from 'node:net'
import { OperatorError } from '../errors.ts'
import { controlSocket } from './control-address.ts'
import {
  type CopyFor,
  type CopyMade,
  type ExportRecord,
  type Reply,
  type Request,
  readReply,
} from './control-messages.ts'

export interface CopyLine {
  copy: CopyMade
  /** Aborted when the server went away, and the copy with it. */
  gone: AbortSignal
  /** Has the server write the export into its audit trail. @throws OperatorError when it is not written */
  record(entry: ExportRecord): Promise<void>
  /** Lets the server remove the copy. */
  release(): void
}

/**
 * Asks the server that has the data folder for a copy, and waits for it.
 * @param asked called when a server is there
 * @returns null where nobody listens
 * @throws OperatorError when the server says no or goes away
 */
export async function requestCopy(
  dataDir: string,
  copyFor: CopyFor,
  asked: () => void,
): Promise<CopyLine | null> {
  const socket = await reach(controlSocket(dataDir))
  if (socket === null) return null
  asked()
  const gone = new AbortController()
  socket.setEncoding('utf8')
  socket.on('error', () => undefined)
  socket.on('close', () => gone.abort(new OperatorError('The server stopped meanwhile. Try again.')))
  try {
    const reply = await ask(socket, { request: copyFor }, gone.signal)
    if (!('copied' in reply)) throw unknownReply()
    return {
      copy: reply.copied,
      gone: gone.signal,
      record: async (entry) => {
        const answer = await ask(socket, { request: 'record', ...entry }, gone.signal)
        if (!('recorded' in answer)) throw unknownReply()
      },
      release: () => socket.destroy(),
    }
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

async function ask(
  socket: Socket,
  request: Request,
  gone: AbortSignal,
): Promise<Exclude<Reply, { refused: string }>> {
  gone.throwIfAborted()
  const answered = nextLine(socket, gone)
  socket.write(`${JSON.stringify(request)}\n`)
  const reply = readReply(await answered)
  if (reply === null) throw unknownReply()
  if ('refused' in reply) throw new OperatorError(reply.refused)
  return reply
}

const unknownReply = (): OperatorError =>
  new OperatorError('The server answered something unknown: is it of another release?')

/** However long it takes: the server may have gigabytes to copy. */
async function nextLine(socket: Socket, gone: AbortSignal): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  let text = ''
  const read = (chunk: string): void => {
    text += chunk
    if (text.includes('\n')) resolve(text)
  }
  const stop = (): void => reject(gone.reason)
  socket.on('data', read)
  gone.addEventListener('abort', stop)
  try {
    return await promise
  } finally {
    socket.off('data', read)
    gone.removeEventListener('abort', stop)
    // Else its end would not be seen between two lines.
    socket.resume()
  }
}
