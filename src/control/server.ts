/**
 * How other processes of this program reach the server that has the embedded database: `minimart backup` and `export`
 * ask it for a copy of its data folder. The copy is removed when the asking connection closes, however it closes.
 */
import { chmod, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { copyDataDir } from '../backup/copy.ts'
import { BackupRefused } from '../backup/refused.ts'
import { ownerOnlyFolder } from '../data-dir.ts'
import { copyFolder } from '../db/data-dir-place.ts'
import type { EmbeddedDatabase } from '../db/database-embedded.ts'
import type { Logger } from '../log.ts'
import { controlFolder, controlSocket } from './address.ts'
import { isCopyRequest, type Reply } from './messages.ts'

export interface Control {
  close(): Promise<void>
}

export interface ControlOptions {
  dataDir: string
  db: Pick<EmbeddedDatabase, 'atRest'>
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

  const copyFor = async (socket: Socket): Promise<void> => {
    if (busy) return send(socket, { refused: 'Another backup or export is being made; wait for it to end.' })
    busy = true
    const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    const asker = new AbortController()
    void gone.then(() => asker.abort())
    try {
      send(socket, await copy(options, AbortSignal.any([asker.signal, stopping.signal])))
      await gone
    } finally {
      await rm(join(dataDir, copyFolder), { recursive: true, force: true })
      busy = false
    }
  }
  const server = createServer((socket) => {
    connections.add(socket)
    socket.on('close', () => connections.delete(socket))
    socket.on('error', (error) => log.debug('A control connection broke', { error }))
    onFirstLine(socket, (line) => {
      if (!isCopyRequest(line)) return void socket.end(`${JSON.stringify({ refused: 'Unknown request.' })}\n`)
      const answer = copyFor(socket)
        .catch((error: unknown) => log.error('A copy for a backup failed', { error }))
        .finally(() => answering.delete(answer))
      answering.add(answer)
    })
  })
  await listen(server, dataDir).catch((error: unknown) =>
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

async function copy({ dataDir, db, log }: ControlOptions, signal: AbortSignal): Promise<Reply> {
  const startedAt = performance.now()
  try {
    const copied = await copyDataDir({ dataDir, db, signal })
    const { bytes, pausedMs } = copied
    const ms = Math.round(performance.now() - startedAt)
    log.info('Copied the database for a backup', { bytes, ms, paused_ms: pausedMs })
    return { copied: { ...copied, migrations: [...copied.migrations] } }
  } catch (error) {
    if (signal.aborted) return { refused: 'The server is being stopped.' }
    if (!(error instanceof BackupRefused)) log.error('A copy for a backup failed', { error })
    const reason = error instanceof Error ? error.message : String(error)
    return {
      refused: error instanceof BackupRefused ? reason : `The server could not copy its data: ${reason}`,
    }
  }
}

async function listen(server: Server, dataDir: string): Promise<void> {
  ownerOnlyFolder(controlFolder(dataDir))
  const path = controlSocket(dataDir)
  // The folder's lock is ours, so one that is there is of a process that was killed.
  await rm(path, { force: true })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen(path, resolve)
  await promise
  await chmod(path, 0o600)
}

function onFirstLine(socket: Socket, take: (line: string) => void): void {
  let text = ''
  const timer = setTimeout(() => socket.destroy(), requestWithinMs)
  socket.once('close', () => clearTimeout(timer))
  const read = (chunk: Buffer): void => {
    text += chunk.toString('latin1')
    if (text.length > maxRequestBytes) return void socket.destroy()
    if (!text.includes('\n')) return
    clearTimeout(timer)
    socket.off('data', read)
    // Else its end would never be seen.
    socket.resume()
    take(text)
  }
  socket.on('data', read)
}

const send = (socket: Socket, reply: Reply): void => void socket.write(`${JSON.stringify(reply)}\n`)
