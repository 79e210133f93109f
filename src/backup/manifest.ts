/**
 * manifest.json, the first entry of a backup: lists the other entries in their order. A backup may come from anyone, so
 * a path names the signing key or something in the database's folder and nothing else, and texts that are shown on a
 * terminal have patterns.
 */

import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { secretFile } from '../data-dir/data-dir.ts'
import { databaseFolder } from '../data-dir/layout.ts'
import { ensureKnown } from '../db/migrations/migrate.ts'
import { migrations } from '../db/migrations/migrations.ts'
import { OperatorError } from '../errors.ts'
import { jsonReader } from '../lib/json.ts'

export const manifestName = 'manifest.json'
export const format = 'minimart-backup'
/** Raised when older releases can no longer restore what this one writes. */
export const formatVersion = 1
/** Enough for some 100,000 files. */
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
  /** Name of the newest, for people; null before the first. */
  migration: Type.Union([MigrationName, Type.Null()]),
  migrations: Type.Array(Migration),
  created_at: Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z$' }),
  /** Whether the backup contains the signing key; it does where the key was generated into DATA_DIR. */
  signing_key: Type.Boolean(),
  folders: Type.Array(Path),
  files: Type.Array(File),
})

/** What says which release can read the rest. */
const readHead = jsonReader(
  Type.Object({
    format: Type.Literal(format),
    format_version: Type.Optional(Type.Unknown()),
    minimart: Type.Optional(Type.Unknown()),
  }),
)

export type BackupFile = Static<typeof File>
export type Manifest = Static<typeof Manifest>

/** @throws OperatorError when it is malformed, or this release cannot restore the backup */
export function readManifest(text: string): Manifest {
  const value = readHead(text)
  if (value === null) throw notABackup()
  const { format_version: version, minimart } = value
  if (typeof version === 'number' && version > formatVersion)
    throw new OperatorError(
      `This backup has format ${version}, and this release reads format ${formatVersion}: restore it with the release ` +
        `that made it${Value.Check(Release, minimart) ? `, MiniMart ${minimart}` : ''}, or a newer one.`,
    )
  if (!Value.Check(Manifest, value)) {
    const fault = Value.Errors(Manifest, value).First()
    throw new OperatorError(`The backup's manifest is malformed (${fault?.path} ${fault?.message}).`)
  }
  ensureSound(value)
  return value
}

export const notABackup = (): OperatorError =>
  new OperatorError('This is not a MiniMart backup. Create one with: minimart backup FILE')

export const totalBytes = (files: readonly { size: number }[]): number =>
  files.reduce((sum, { size }) => sum + size, 0)

function ensureSound(manifest: Manifest): void {
  const { folders, files } = manifest
  const names = [...folders, ...files.map(({ path }) => path)]
  const known = new Set(folders)
  const orphan = names.find((path) => path.includes('/') && !known.has(path.slice(0, path.lastIndexOf('/'))))
  if (new Set(names).size !== names.length || orphan !== undefined || !known.has(databaseFolder))
    throw new OperatorError(
      "The backup's manifest is malformed (a name appears twice, or without its folder).",
    )
  try {
    ensureKnown(manifest.migrations, migrations)
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error
    throw new OperatorError(
      `This backup was made by MiniMart ${manifest.minimart}; this release cannot restore it. ${error.message}`,
    )
  }
}
