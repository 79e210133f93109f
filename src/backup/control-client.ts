import { explainFileError } from '../data-dir/disk-error.ts'
import { errorCode } from '../db/errors.ts'
import { OperatorError } from '../errors.ts'
import {
  type CopyEvent,
  type CopyFor,
  type CopyResult,
  controlSocket,
  copiesPath,
  type ExportRecord,
  exportsPath,
  type RecordRequest,
  readCopyEvent,
  readRefusal,
} from './control-protocol.ts'

/** A copy of its data folder that the server keeps for this process. */
export interface CopyLease {
  readonly copy: CopyResult
  /** Aborted when the server stops, and removes the copy. */
  readonly stopped: AbortSignal
  /** Whether the server still keeps the copy. `stopped` may be late: a file can be missed before it is aborted. */
  isHeld(): Promise<boolean>
  /** Has the server record the export in its audit trail. @throws OperatorError when it could not */
  record(entry: ExportRecord): Promise<void>
  /** Lets the server remove the copy. */
  release(): void
}

export const serverStopped = (): OperatorError =>
  new OperatorError('The server stopped meanwhile. Try again.')

/**
 * Asks the server that has the data folder open for a copy and waits for it, however long that takes.
 * @param onServer called when a server answers
 * @returns null where nobody listens
 * @throws OperatorError when the server refuses or stops
 */
export async function requestCopy(
  dataDir: string,
  copyFor: CopyFor,
  onServer: () => void,
): Promise<CopyLease | null> {
  const leaving = new AbortController()
  const response = await call(dataDir, copiesPath, { ...post({ for: copyFor }), signal: leaving.signal })
  if (response === null) return null
  onServer()
  try {
    await ensureOk(response)
    const events = eventsOf(response)
    const id = await nextOf(events, (event) => ('accepted' in event ? event.accepted : undefined))
    const copy = await nextOf(events, (event) => ('copied' in event ? event.copied : undefined))
    return {
      copy,
      stopped: endOf(events),
      isHeld: async () => (await call(dataDir, `${copiesPath}/${id}`).catch(() => null))?.ok === true,
      async record(entry) {
        const request: RecordRequest = { copy: id, ...entry }
        const recorded = await call(dataDir, exportsPath, post(request))
        if (recorded === null) throw serverStopped()
        await ensureOk(recorded)
      },
      release: () => leaving.abort(),
    }
  } catch (error) {
    leaving.abort()
    throw error
  }
}

const post = (message: object): RequestInit => ({ method: 'POST', body: JSON.stringify(message) })

const notListening: ReadonlySet<string> = new Set(['ENOENT', 'ECONNREFUSED'])

/** @returns null where nobody listens */
async function call(dataDir: string, path: string, init: RequestInit = {}): Promise<Response | null> {
  const unix = controlSocket(dataDir)
  try {
    return await fetch(`http://localhost${path}`, { ...init, unix, timeout: false })
  } catch (error) {
    const code = errorCode(error)
    if (notListening.has(code)) return null
    if (code === 'ECONNRESET') throw serverStopped()
    if (code === 'Malformed_HTTP_Response') throw unknownAnswer()
    return explainFileError(error, unix)
  }
}

async function ensureOk(response: Response): Promise<void> {
  if (response.ok) return
  const refusal = readRefusal(await response.text())
  throw refusal === null ? unknownAnswer() : new OperatorError(refusal.refused)
}

const unknownAnswer = (): OperatorError =>
  new OperatorError('The server answered something unknown: is it of another release?')

async function* eventsOf({ body }: Response): AsyncGenerator<CopyEvent> {
  let rest = ''
  for await (const text of body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const lines = `${rest}${text}`.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const event = readCopyEvent(line)
      if (event === null) throw unknownAnswer()
      yield event
    }
  }
}

async function nextOf<T>(
  events: AsyncGenerator<CopyEvent>,
  pick: (event: CopyEvent) => T | undefined,
): Promise<T> {
  const { value, done } = await events.next().catch((error: unknown) => {
    throw error instanceof OperatorError ? error : serverStopped()
  })
  if (done === true) throw serverStopped()
  if ('refused' in value) throw new OperatorError(value.refused)
  const picked = pick(value)
  if (picked === undefined) throw unknownAnswer()
  return picked
}

/** Aborted when the answer ends or breaks off. */
function endOf(events: AsyncGenerator<CopyEvent>): AbortSignal {
  const ended = new AbortController()
  const abort = (): void => ended.abort(serverStopped())
  events.next().then(abort, abort)
  return ended.signal
}
