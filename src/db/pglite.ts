/**
 * PGlite as an embedded database must be: a commit that was acknowledged is on the disk.
 * As shipped PGlite never calls fsync: it starts PostgreSQL with -F, and its NODEFS has no fsync for PostgreSQL to
 * reach. Here -F is taken out and NODEFS is given one.
 */
import { existsSync, fdatasyncSync } from 'node:fs'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import initdbWasm from '@electric-sql/pglite/initdb.wasm' with { type: 'file' }
import { NodeFS } from '@electric-sql/pglite/nodefs'
import data from '@electric-sql/pglite/pglite.data' with { type: 'file' }
import postgresWasm from '@electric-sql/pglite/pglite.wasm' with { type: 'file' }
import { ownerOnlyFolder } from '../data-dir.ts'
import { databaseError } from './errors.ts'
import type { MigrationConnection } from './migrate.ts'
import { asText, columnParsers } from './statement.ts'
import { syncTree } from './sync-files.ts'

/** How often this process has made the embedded database's files reach the disk. */
export const durability = { syncs: 0 }

/**
 * Opens the database in that folder, made (0700) if it is not there: some seconds the first time.
 * @param durable false for who makes the whole folder reach the disk afterwards: PostgreSQL begins with an fsync of
 *   each file, twice, where it was not closed
 */
export async function openPglite(folder: string, durable = true): Promise<PGlite> {
  const isNew = !existsSync(join(folder, 'PG_VERSION'))
  ownerOnlyFolder(folder)
  const [pgliteWasmModule, initdbWasmModule] = await Promise.all([postgresWasm, initdbWasm].map(compile))
  const pglite = await PGlite.create({
    fs: new DurableNodeFS(folder),
    fsBundle: Bun.file(data),
    ...(pgliteWasmModule && { pgliteWasmModule }),
    ...(initdbWasmModule && { initdbWasmModule }),
    startParams: [
      ...PGlite.defaultStartParams.filter((parameter) => !durable || parameter !== '-F'),
      ...['-c', 'wal_sync_method=fsync'],
    ],
  })
  // What initdb wrote went past the fsync below; PostgreSQL will not look at unchanged files again.
  if (isNew) await syncTree(folder)
  useOneReading(pglite)
  return pglite
}

/** Its one session as migrations take it. */
export const connectionTo = (pglite: PGlite): MigrationConnection => ({
  query: async (text, parameters = []) => {
    try {
      return (await pglite.query<Record<string, unknown>>(text, parameters)).rows
    } catch (error) {
      throw databaseError(error, text)
    }
  },
})

const compile = async (path: string): Promise<WebAssembly.Module> =>
  WebAssembly.compile(await Bun.file(path).arrayBuffer())

type NodeFsOptions = Parameters<NodeFS['init']>[1]

class DurableNodeFS extends NodeFS {
  override async init(pglite: PGlite, options: NodeFsOptions): ReturnType<NodeFS['init']> {
    const { emscriptenOpts } = await super.init(pglite, options)
    const preRun = [...(emscriptenOpts.preRun ?? []), adaptFiles]
    return { emscriptenOpts: { ...emscriptenOpts, preRun } }
  }
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
  if (!isNodeFileSystem(files)) throw new Error('This PGlite has no NODEFS to make durable')
  // tryFSOperation turns a failure into the errno that PostgreSQL expects, on which it stops rather than go on.
  files.stream_ops.fsync = ({ nfd }) => {
    files.tryFSOperation(() => fdatasyncSync(nfd))
    durability.syncs += 1
    return 0
  }
  // PGlite makes everything open to all, whatever the umask.
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

/** So that rows and parameters are the same as on PostgreSQL (statement.ts). */
function useOneReading({ parsers, serializers }: Pick<PGlite, 'parsers' | 'serializers'>): void {
  for (const oid of Object.keys(parsers)) parsers[oid] = columnParsers[Number(oid)] ?? asText
  for (const oid of Object.keys(serializers)) serializers[oid] = asText
}
