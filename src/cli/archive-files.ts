/** Where archives go to and come from: a file, compressed where its name ends in .gz, or the standard streams. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, createWriteStream, existsSync, renameSync, rmSync, statSync } from 'node:fs'
import { PassThrough, type Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import { Failure } from './command.ts'

export interface ArchiveOutput {
  /** Settles when there is room for more. @throws Failure when it cannot be written */
  write(text: string): Promise<void>
  /** Only now is there a file of the name that was asked for. */
  finish(): Promise<void>
  /** Removes what there is of the file. */
  abandon(): void
}

/** @param target a path, or `-` @throws Failure where the file is there already or cannot be made */
export function openOutput(target: string): ArchiveOutput {
  // As a stream of file descriptor 1 a slow reader at the other end of a pipe would be a failed write.
  if (target === '-') return outputTo(target, process.stdout, [])
  if (existsSync(target)) throw new Failure(`${target} is there already. Remove it, or name another file.`)
  // Under another name until it is whole, and for nobody else's eyes.
  const unfinished = `${target}.${randomBytes(4).toString('hex')}.unfinished`
  const file = createWriteStream(unfinished, { flags: 'wx', mode: 0o600, flush: true })
  const output = outputTo(target, file, target.endsWith('.gz') ? [createGzip()] : [])
  return {
    ...output,
    async finish() {
      await output.finish()
      renameSync(unfinished, target)
    },
    abandon() {
      output.abandon()
      rmSync(unfinished, { force: true })
    },
  }
}

function outputTo(target: string, sink: NodeJS.WritableStream, between: Transform[]): ArchiveOutput {
  const source = new PassThrough()
  const written = pipeline([source, ...between, sink], { end: sink !== process.stdout }).catch(
    (error: unknown) => {
      throw cannot('write', target, error)
    },
  )
  // Whoever writes hears of it.
  written.catch(() => undefined)
  return {
    async write(text) {
      if (!source.write(text)) await Promise.race([once(source, 'drain'), written])
    },
    async finish() {
      source.end()
      await written
    },
    abandon: () => void source.destroy(),
  }
}

export interface ArchiveInput {
  bytes: AsyncIterable<Uint8Array>
  /** Of the file as it lies there; unknown of a stream. */
  size: number | undefined
}

/** @param onBytes called with how many bytes were read, as they lie in the file @throws Failure */
export function openInput(source: string, onBytes: (count: number) => void): ArchiveInput {
  const stream = source === '-' ? createReadStream('', { fd: 0, autoClose: false }) : createReadStream(source)
  return {
    bytes: unpacked(counted(stream, source, onBytes), source),
    size: source === '-' ? undefined : statSync(source, { throwIfNoEntry: false })?.size,
  }
}

async function* counted(
  stream: AsyncIterable<Uint8Array>,
  source: string,
  onBytes: (count: number) => void,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of stream) {
      onBytes(chunk.length)
      yield chunk
    }
  } catch (error) {
    throw cannot('read', source, error)
  }
}

/** Told by its first bytes, so that a stream may be compressed too. */
async function* unpacked(bytes: AsyncGenerator<Uint8Array>, source: string): AsyncGenerator<Uint8Array> {
  const first = await bytes.next()
  if (first.done === true) return
  const all = joined(first.value, bytes)
  if (first.value[0] !== 0x1f || first.value[1] !== 0x8b) return yield* all
  const gunzip = createGunzip()
  const fed = pipeline(all, gunzip)
  fed.catch(() => undefined)
  try {
    for await (const chunk of gunzip) yield chunk
    await fed
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure(`${source} cannot be decompressed: it is cut off or damaged. Nothing was imported.`)
  }
}

async function* joined(first: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first
  yield* rest
}

function cannot(what: 'read' | 'write', target: string, error: unknown): Failure {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
  const name = target === '-' ? `standard ${what === 'read' ? 'input' : 'output'}` : target
  return new Failure(`${name} cannot be ${what === 'read' ? 'read' : 'written'}: ${reasons[code] ?? code}.`)
}

const reasons: Record<string, string> = {
  ENOENT: 'there is no such file or folder',
  EACCES: 'this user may not',
  EISDIR: 'it is a folder',
  ENOSPC: 'the disk is full',
  EROFS: 'it lies on a read-only file system',
  EPIPE: 'the program that reads it has ended',
}
