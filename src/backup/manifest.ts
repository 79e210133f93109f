/**
 * The first entry of a backup, manifest.json: what the others are, in their order. A path names nothing but the key
 * or something below the database's folder, so that no backup, whoever made it, can write elsewhere; and no text is
 * other than a backup has it, for some of it is shown on a terminal.
 */

import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { secretFile } from '../data-dir/data-dir.ts'
import { databaseFolder } from '../data-dir/layout.ts'
import { ensureKnown } from '../db/migrations/migrate.ts'
import { migrations } from '../db/migrations/migrations.ts'
import { OperatorError } from '../errors.ts'

export const manifestName = 'manifest.json'
export const format = 'minimart-backup'
/** Counts up when an older program could no longer restore what a newer one writes. */
export const formatVersion = 1
/** Some 100,000 files. */
export const maxManifestBytes = 32 * 2 ** 20

const Path = Type.String({
  pattern: `^(${secretFile}|${databaseFolder}(/(?!\\.{1,2}(/|$))[A-Za-z0-9._-]+)*)$`,
  maxLength: 1000,
})
const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' })
const MigrationName = Type.String({ pattern: '^\\w{1,100}$' })
const Migration = Type.Object({
  version: Type.Integer(),
  name: MigrationName,
  checksum: Type.String({ pattern: '^[0-9a-f]{1,128}$' }),
})
const Release = Type.String({ pattern: '^[A-Za-z0-9.+-]{1,32}$' })

const File = Type.Object({ path: Path, size: Type.Integer({ minimum: 0 }), sha256: Sha256 })

const Manifest = Type.Object({
  format: Type.Literal(format),
  format_version: Type.Literal(formatVersion),
  minimart: Release,
  postgres: Release,
  /** The newest, for people; null before the first. */
  migration: Type.Union([MigrationName, Type.Null()]),
  migrations: Type.Array(Migration),
  created_at: Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z$' }),
  /** Whether the key that signs tokens is in it, as it is where it was generated into DATA_DIR. */
  signing_key: Type.Boolean(),
  folders: Type.Array(Path),
  files: Type.Array(File),
})

export type BackupFile = Static<typeof File>
export type Manifest = Static<typeof Manifest>

/** @throws OperatorError when this program cannot restore such a backup */
export function readManifest(text: string): Manifest {
  const value = parse(text)
  const { format: found, format_version: version, minimart } = value
  if (found !== format) throw notABackup()
  if (typeof version === 'number' && version > formatVersion)
    throw new OperatorError(
      `This backup has format ${version}, and this program knows ${formatVersion}: restore it with the release that ` +
        `made it${Value.Check(Release, minimart) ? `, MiniMart ${minimart}` : ''}, or a newer one.`,
    )
  if (!Value.Check(Manifest, value)) {
    const fault = Value.Errors(Manifest, value).First()
    throw new OperatorError(`The backup's manifest is not well-formed (${fault?.path} ${fault?.message}).`)
  }
  ensureSound(value)
  return value
}

export const notABackup = (): OperatorError =>
  new OperatorError('This is not a MiniMart backup; minimart backup FILE makes one.')

export const totalBytes = (files: readonly { size: number }[]): number =>
  files.reduce((sum, { size }) => sum + size, 0)

function parse(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
  } catch {
    // Said below.
  }
  throw notABackup()
}

function ensureSound(manifest: Manifest): void {
  const { folders, files } = manifest
  const names = [...folders, ...files.map(({ path }) => path)]
  const known = new Set(folders)
  const homeless = names.find(
    (path) => path.includes('/') && !known.has(path.slice(0, path.lastIndexOf('/'))),
  )
  if (new Set(names).size !== names.length || homeless !== undefined || !known.has(databaseFolder))
    throw new OperatorError(
      "The backup's manifest is not well-formed (a name twice, or one without its folder).",
    )
  try {
    ensureKnown(manifest.migrations, migrations)
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error
    throw new OperatorError(
      `This backup was made by MiniMart ${manifest.minimart}, and this program cannot use it. ${error.message}`,
    )
  }
}
