/**
 * How other processes of this program reach the server that has the embedded database: `minimart backup` and `export`
 * ask it for a copy of its data folder. The copy is removed when the asking connection closes, however it closes; what
 * an export would write into the copy's audit trail, it asks the server to write into its own.
 */

import { chmod, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { ownerOnlyFolder } from '../data-dir/data-dir.ts'
import { copyFolder } from '../data-dir/layout.ts'
import type { EmbeddedDatabase } from '../db/embedded/database.ts'
import { OperatorError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { controlFolder, controlSocket } from './control-address.ts'
import { type CopyFor, type ExportRecord, type Reply, readRequest } from './control-messages.ts'
import { copyDataDir } from './copy.ts'

export interface Control {
  close(): Promise<void>
}

export interface ControlOptions {
  dataDir: string
  db: Pick<EmbeddedDatabase, 'whileQuiesced'>
  /** Writes an export that was made of a copy into the audit trail. */
  recordExport(entry: ExportRecord): Promise<void>
  log: Logger
}

const maxRequestBytes = 1000
const requestWithinMs = 5000

/** Where no socket can be had, says so in the log; the service goes on without. */
export async function openControl(options: ControlOptions): Promise<Control> {
  const { dataDir, log } = options
  const connections = new Set<Socket>()
  const answering = new Set<Promise<void>>()
  const stopping = new AbortController()
  let busy = false

  const makeCopy = async (socket: Socket, copyFor: CopyFor): Promise<void> => {
    if (busy) return send(socket, { refused: 'Another backup or export is being made; wait for it to end.' })
    busy = true
    const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    const asker = new AbortController()
    void gone.then(() => asker.abort())
    try {
      send(socket, await copy(options, copyFor, AbortSignal.any([asker.signal, stopping.signal])))
      await gone
    } finally {
      // Where it cannot be removed, the next copy begins with that, and tells why it fails.
      await rm(join(dataDir, copyFolder), { recursive: true, force: true }).finally(() => {
        busy = false
      })
    }
  }
  /** What one connection asks for: a copy, and if that was for an export, one entry. */
  const conversation = (socket: Socket) => {
    let mayRecord = false
    return async (line: string): Promise<void> => {
      const request = readRequest(line)
      if (request === null || (request.request === 'record' && !mayRecord))
        return void socket.end(
          `${JSON.stringify({ refused: 'The server does not know this request: is it of another release?' })}\n`,
        )
      mayRecord = request.request === 'export'
      if (request.request === 'record') send(socket, await record(options, request))
      else await makeCopy(socket, request.request)
    }
  }
  const server = createServer((socket) => {
    connections.add(socket)
    socket.on('close', () => connections.delete(socket))
    socket.on('error', (error) => log.debug('A control connection broke', { error }))
    const take = conversation(socket)
    onLines(socket, (line) => {
      const answer = take(line)
        .catch((error: unknown) => log.error('A copy for a backup or export failed', { error }))
        .finally(() => answering.delete(answer))
      answering.add(answer)
    })
  })
  await listen(server, options).catch((error: unknown) =>
    log.warn('No control socket: minimart backup and export work only while the server is stopped', {
      error,
    }),
  )
  return {
    async close() {
      stopping.abort()
      server.close()
      for (const socket of connections) socket.destroy()
      await Promise.all(answering)
      await rm(controlSocket(dataDir), { force: true })
    },
  }
}

async function copy(
  { dataDir, db, log }: ControlOptions,
  copyFor: CopyFor,
  signal: AbortSignal,
): Promise<Reply> {
  const startedAt = performance.now()
  try {
    const copied = await copyDataDir({ dataDir, db, signal })
    const { bytes, pausedMs } = copied
    const ms = Math.round(performance.now() - startedAt)
    log.info('Copied the database', { for: copyFor, bytes, ms, paused_ms: pausedMs })
    return { copied: { ...copied, migrations: [...copied.migrations] } }
  } catch (error) {
    if (signal.aborted) return { refused: 'The server is being stopped.' }
    if (!(error instanceof OperatorError))
      log.error('The database could not be copied', { for: copyFor, error })
    const reason = error instanceof Error ? error.message : String(error)
    return {
      refused: error instanceof OperatorError ? reason : `The server could not copy its data: ${reason}`,
    }
  }
}

async function record({ recordExport, log }: ControlOptions, entry: ExportRecord): Promise<Reply> {
  try {
    await recordExport(entry)
    return { recorded: true }
  } catch (error) {
    log.error('An export could not be recorded', { error })
    const reason = error instanceof Error ? error.message : String(error)
    return { refused: `The server could not record the export, so it is not completed: ${reason}` }
  }
}

async function listen(server: Server, { dataDir, log }: ControlOptions): Promise<void> {
  ownerOnlyFolder(controlFolder(dataDir))
  const path = controlSocket(dataDir)
  // The folder's lock is ours, so one that is there is of a process that was killed.
  await rm(path, { force: true })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen(path, resolve)
  await promise
  server.off('error', reject)
  server.on('error', (error) => log.warn('The control socket failed', { error }))
  await chmod(path, 0o600)
}

/** The first line must come soon. */
function onLines(socket: Socket, take: (line: string) => void): void {
  let text = ''
  const timer = setTimeout(() => socket.destroy(), requestWithinMs)
  socket.once('close', () => clearTimeout(timer))
  socket.on('data', (chunk: Buffer) => {
    const lines = `${text}${chunk.toString('latin1')}`.split('\n')
    text = lines.pop() ?? ''
    if (text.length > maxRequestBytes) return void socket.destroy()
    for (const line of lines) {
      clearTimeout(timer)
      take(line)
    }
  })
}

const send = (socket: Socket, reply: Reply): void => void socket.write(`${JSON.stringify(reply)}\n`)
