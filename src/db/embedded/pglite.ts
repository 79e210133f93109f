/**
 * Makes PGlite durable: an acknowledged commit is on the disk.
 * As shipped PGlite never calls fsync: it starts PostgreSQL with -F, and its NODEFS has no fsync for PostgreSQL to
 * reach. Here -F is removed and NODEFS gets one.
 */

import { fdatasyncSync } from 'node:fs'
import type { PGlite } from '@electric-sql/pglite'
import type { NodeFS } from '@electric-sql/pglite/nodefs'
import type { MigrationConnection } from '../database.ts'
import { databaseError } from '../errors.ts'
import { asText, columnParsers, type Statement } from '../statement.ts'
import { createFailStop, type FailStop } from './fail-stop.ts'
import { ensureDatabaseFolder } from './first-start.ts'
import { assets } from './pglite-assets.ts'
import { unpackDatabase } from './prepared-database.ts'

/** Counts this process' fsyncs of the embedded database's files. */
export const durability = { syncs: 0 }

/**
 * Opens the database in that folder, which is created (0700) if missing.
 * @param durable false for a caller that fsyncs the whole folder afterwards: on a database that was not closed
 *   PostgreSQL starts with an fsync of each file, twice
 * @throws OperatorError when the folder holds something else
 */
export async function openPglite(folder: string, durable = true): Promise<PGlite> {
  await ensureDatabaseFolder(folder, async (empty) => {
    if (assets.preparedDatabase === null) return (await open(empty)).close()
    unpackDatabase(await read(assets.preparedDatabase), empty)
  })
  const pglite = await open(folder, durable)
  useSharedParsers(pglite)
  return pglite
}

/** In an empty folder PGlite creates a database, which takes seconds and more memory than it ever needs again. */
async function open(folder: string, durable = true): Promise<PGlite> {
  // Loaded on demand: with PostgreSQL they would only cost memory and start-up time.
  const [{ PGlite }, { NodeFS }] = await Promise.all([
    import('@electric-sql/pglite'),
    import('@electric-sql/pglite/nodefs'),
  ])
  const [pgliteWasmModule, initdbWasmModule] = await Promise.all([
    compile(assets.postgresWasm),
    assets.initdbWasm === null ? undefined : compile(assets.initdbWasm),
  ])
  const failStop = createFailStop()
  const pglite = await PGlite.create({
    fs: adapt(new NodeFS(folder), failStop),
    onStderr: failStop.onStderr,
    fsBundle: new Blob([await read(assets.data)]),
    pgliteWasmModule,
    ...(initdbWasmModule && { initdbWasmModule }),
    startParams: [
      ...PGlite.defaultStartParams.filter((parameter) => !durable || parameter !== '-F'),
      ...['-c', 'wal_sync_method=fsync'],
    ],
  })
  failStop.arm()
  return pglite
}

/** @throws the error as `databaseError` maps it */
export async function runStatement(
  pglite: PGlite,
  { text, parameters }: Statement,
): Promise<Record<string, unknown>[]> {
  try {
    return (await pglite.query<Record<string, unknown>>(text, parameters)).rows
  } catch (error) {
    throw databaseError(error, text)
  }
}

/** standard_conforming_strings is on, so only the quote is special. */
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`

/** PGlite's one session, for migrations and checkpoints. */
export const connectionTo = (pglite: PGlite): MigrationConnection => ({
  query: (text, parameters = []) => runStatement(pglite, { text, parameters }),
})

async function read(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await Bun.file(path).bytes()
  return path.endsWith('.zst') ? new Uint8Array(await Bun.zstdDecompress(bytes)) : bytes
}

const compiled = new Map<string, Promise<WebAssembly.Module>>()

/** Once a process: a module shared by databases keeps what the engine has optimised of it. */
function compile(path: string): Promise<WebAssembly.Module> {
  const module = compiled.get(path) ?? read(path).then((bytes) => WebAssembly.compile(bytes))
  compiled.set(path, module)
  return module
}

function adapt(files: NodeFS, { onAbort }: FailStop): NodeFS {
  const init = files.init.bind(files)
  files.init = async (pglite, options) => {
    const { emscriptenOpts } = await init(pglite, options)
    const preRun = [...(emscriptenOpts.preRun ?? []), adaptFiles]
    return { emscriptenOpts: { ...emscriptenOpts, preRun, onAbort } }
  }
  return files
}

interface NodeFileSystem {
  tryFSOperation(operation: () => void): void
  stream_ops: { fsync?: (stream: { nfd: number }) => number }
  node_ops: {
    mknod: (parent: unknown, name: string, mode: number, device: number) => unknown
    setattr: (node: unknown, attributes: { mode?: number }) => void
  }
}

function adaptFiles(module: { NODEFS: unknown }): void {
  const files = module.NODEFS
  if (!isNodeFileSystem(files))
    throw new Error(
      'This version of PGlite has no NODEFS of the known shape, so its commits would not be durable',
    )
  // tryFSOperation turns a failure into the errno that PostgreSQL expects, upon which it panics (fail-stop.ts).
  files.stream_ops.fsync = ({ nfd }) => {
    files.tryFSOperation(() => fdatasyncSync(nfd))
    durability.syncs += 1
    return 0
  }
  // PGlite makes every file readable and writable by all, whatever the umask.
  const { mknod, setattr } = files.node_ops
  files.node_ops.mknod = (parent, name, mode, device) => mknod(parent, name, mode & ownerOnly, device)
  files.node_ops.setattr = (node, attributes) =>
    setattr(node, attributes.mode === undefined ? attributes : withMode(attributes, attributes.mode))
}

const ownerOnly = ~0o077

const withMode = <T>(attributes: T, mode: number): T & { mode: number } => ({
  ...attributes,
  mode: mode & ownerOnly,
})

const isNodeFileSystem = (files: unknown): files is NodeFileSystem =>
  typeof files === 'object' && files !== null && 'stream_ops' in files && 'node_ops' in files

/** So that rows and parameters are read and written as on PostgreSQL (statement.ts). */
function useSharedParsers({ parsers, serializers }: Pick<PGlite, 'parsers' | 'serializers'>): void {
  for (const oid of Object.keys(parsers)) parsers[oid] = columnParsers[Number(oid)] ?? asText
  for (const oid of Object.keys(serializers)) serializers[oid] = asText
}
