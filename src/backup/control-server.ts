/** The server's end of the control socket (control-protocol.ts): copies of its data folder, one at a time. */

import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { BunRequest, Server } from 'bun'
import pTimeout from 'p-timeout'
import { ownerOnlyFolder } from '../data-dir/data-dir.ts'
import { copyFolder } from '../data-dir/layout.ts'
import type { EmbeddedDatabase } from '../db/embedded/database.ts'
import { OperatorError } from '../errors.ts'
import type { Logger } from '../log.ts'
import {
  type CopyEvent,
  type CopyFor,
  type CopyResult,
  controlFolder,
  controlSocket,
  copiesPath,
  type ExportRecord,
  exportsPath,
  readCopyRequest,
  readRecordRequest,
} from './control-protocol.ts'
import { copyDataDir } from './copy.ts'

export interface Control {
  /** Ends the copy there may be and closes the socket. */
  close(): Promise<void>
}

export interface ControlOptions {
  dataDir: string
  db: Pick<EmbeddedDatabase, 'whileQuiesced'>
  /** Records an export of a copy in the audit trail. */
  recordExport(entry: ExportRecord): Promise<void>
  log: Logger
}

/** A copy, from its request until it is removed. */
interface Lease {
  readonly id: string
  /** Whether an export of this copy may still be recorded. */
  mayRecord: boolean
  /** Aborted when the client leaves, the copy fails or the server stops: then it is being removed. */
  readonly over: AbortController
  readonly removed: Promise<void>
}

const maxRequestBytes = 1000
const finishRequestsMs = 1000

/** Where there can be no socket, the service goes on without one and the log says so. */
export async function openControl(options: ControlOptions): Promise<Control> {
  const { dataDir, log } = options
  let lease: Lease | null = null
  let stopping = false

  const createCopy = async (request: Request): Promise<Response> => {
    const message = readCopyRequest(await request.text())
    if (message === null) return unknownRequest()
    if (lease?.over.signal.aborted) await lease.removed
    if (stopping) return refuse(503, 'The server is stopping.')
    if (lease !== null)
      return refuse(409, 'Another backup or export is running; wait for it to finish and try again.')
    const over = new AbortController()
    const answer = createAnswer(() => over.abort())
    const removed = holdCopy(options, message.for, over, answer)
      .catch((error: unknown) => log.error('The copy for a backup or export could not be removed', { error }))
      .finally(() => {
        lease = null
      })
    lease = { id: crypto.randomUUID(), mayRecord: message.for === 'export', over, removed }
    answer.send({ accepted: lease.id })
    return new Response(answer.body, { headers: { 'content-type': 'application/jsonl' } })
  }
  const recordExport = async (request: Request): Promise<Response> => {
    const message = readRecordRequest(await request.text())
    if (message === null || message.copy !== lease?.id || !lease.mayRecord) return unknownRequest()
    lease.mayRecord = false
    const { copy: _, ...entry } = message
    return await record(options, entry)
  }
  const server = await listen(options, {
    [copiesPath]: { POST: createCopy },
    [`${copiesPath}/:id`]: {
      GET: ({ params }) =>
        params['id'] === lease?.id && !stopping ? new Response(null, { status: 204 }) : unknownRequest(),
    },
    [exportsPath]: { POST: recordExport },
  }).catch((error: unknown) => {
    log.warn('No control socket: minimart backup and export work only while the server is stopped', { error })
    return null
  })
  return {
    async close() {
      stopping = true
      const last = lease?.removed
      lease?.over.abort()
      if (server)
        await pTimeout(server.stop(), { milliseconds: finishRequestsMs, fallback: () => server.stop(true) })
      await last
      await rm(controlSocket(dataDir), { force: true })
    },
  }
}

/** Ends the answer before it removes the copy, so that a client that misses a file can learn why. */
async function holdCopy(
  options: ControlOptions,
  copyFor: CopyFor,
  over: AbortController,
  answer: Answer,
): Promise<void> {
  try {
    answer.send({ copied: await copy(options, copyFor, over.signal) })
    if (!over.signal.aborted) await once(over.signal, 'abort')
  } catch (error) {
    if (!over.signal.aborted) answer.send({ refused: explainCopy(error, copyFor, options.log) })
  }
  over.abort()
  answer.end()
  await rm(join(options.dataDir, copyFolder), { recursive: true, force: true })
}

async function copy(
  { dataDir, db, log }: ControlOptions,
  copyFor: CopyFor,
  signal: AbortSignal,
): Promise<CopyResult> {
  const startedAt = performance.now()
  const copied = await copyDataDir({ dataDir, db, signal })
  const { bytes, pausedMs } = copied
  const ms = Math.round(performance.now() - startedAt)
  log.info('Copied the database', { for: copyFor, bytes, ms, paused_ms: pausedMs })
  return { ...copied, migrations: [...copied.migrations] }
}

function explainCopy(error: unknown, copyFor: CopyFor, log: Logger): string {
  if (error instanceof OperatorError) return error.message
  log.error('The database could not be copied', { for: copyFor, error })
  return `The server could not copy its data: ${reasonOf(error)}`
}

async function record({ recordExport, log }: ControlOptions, entry: ExportRecord): Promise<Response> {
  try {
    await recordExport(entry)
    return new Response(null, { status: 204 })
  } catch (error) {
    log.error('An export could not be recorded', { error })
    return refuse(500, `The server could not record the export, so it is not completed: ${reasonOf(error)}`)
  }
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const refuse = (status: number, refused: string): Response => Response.json({ refused }, { status })

const unknownRequest = (): Response =>
  refuse(404, 'The server does not know this request: is it of another release?')

/**
 * For a copy is kept as long as it is needed; by default Bun ends an answer that is silent for 10 seconds. Its types do
 * not know the option for Unix sockets. Connections that send no request are closed after 12 seconds all the same.
 */
const noIdleTimeout: object = { idleTimeout: 0 }

type Handler = (request: BunRequest) => Response | Promise<Response>

async function listen(
  { dataDir, log }: ControlOptions,
  routes: Record<string, { [method in 'GET' | 'POST']?: Handler }>,
): Promise<Server<undefined>> {
  ownerOnlyFolder(controlFolder(dataDir))
  const path = controlSocket(dataDir)
  // We hold the folder's lock, so this one was left by a process that was killed.
  await rm(path, { force: true })
  const server = Bun.serve({
    unix: path,
    ...noIdleTimeout,
    maxRequestBodySize: maxRequestBytes,
    routes,
    fetch: unknownRequest,
    error(error) {
      log.error('A control request failed', { error })
      return refuse(500, `The server failed: ${reasonOf(error)}`)
    },
  })
  chmodSync(path, 0o600)
  return server
}

/** The body of a streamed answer. What is sent after the client has left is dropped. */
interface Answer {
  readonly body: ReadableStream<string>
  send(event: CopyEvent): void
  end(): void
}

function createAnswer(onClientLeft: () => void): Answer {
  let controller: ReadableStreamDefaultController<string> | null = null
  const body = new ReadableStream<string>({
    start(opened) {
      controller = opened
    },
    cancel() {
      controller = null
      onClientLeft()
    },
  })
  return {
    body,
    send: (event) => controller?.enqueue(`${JSON.stringify(event)}\n`),
    end() {
      controller?.close()
      controller = null
    },
  }
}
