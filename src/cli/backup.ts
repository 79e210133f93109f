import { resolve } from 'node:path'
import { type BackupProgress, describeBackup, writeArchive } from '../backup/backup-writer.ts'
import { type Manifest, totalBytes } from '../backup/manifest.ts'
import { withQuiescedFolder } from '../backup/source.ts'
import { type Arguments, type Command, UsageError } from './command.ts'
import { fileArgument, reportServer, requireEmbedded } from './embedded-database.ts'
import { withOutputFile } from './output-file.ts'
import { print } from './print.ts'
import { createProgress, type Progress } from './progress.ts'
import { setUp } from './setup.ts'

export const backup: Command = {
  summary: 'back up the embedded database to a file; the server may be running',
  usage: 'FILE [--force] [--json]',
  details: [
    'Writes a gzipped tar: a manifest with checksums, the database in DATA_DIR as of one moment, and the key that signs',
    'tokens if it was generated into DATA_DIR. With the key, people stay signed in after a restore; so keep the file as',
    'secret as the server. The outbox and settings such as JWT_SECRET_KEY are not included.',
    '',
    '  minimart backup minimart-$(date +%F).tar.gz',
    "  minimart backup - | ssh elsewhere 'cat > minimart.tar.gz'",
    '',
    'A running server copies its folder for the backup, which takes disk space, and keeps serving: requests wait only',
    'while the most recent changes are copied. Every write that was answered before the backup began is in it.',
    '',
    '--force  replace FILE if it exists',
    '--json   print the result as one line of JSON',
    '',
    'Restore it with minimart restore FILE. Back up PostgreSQL (DATABASE_URL) with pg_dump.',
  ].join('\n'),
  options: { force: { type: 'boolean' }, json: { type: 'boolean' } },
  positionals: 1,
  run,
}

async function run({ positionals, values }: Arguments): Promise<number> {
  const path = fileArgument('backup', positionals)
  if (path === '-' && process.stdout.isTTY)
    throw new UsageError('A backup cannot be printed on a terminal: name a file, or pipe the output.')
  const { config, log } = setUp({}, 'error')
  requireEmbedded('backup', config)
  const existing = { force: values['force'] === true, remedy: 'add --force to replace it' }
  const [written, bytes] = await withOutputFile(path, existing, (write) =>
    withQuiescedFolder({ dataDir: config.dataDir, log, onServer: reportServer }, async (source) => {
      const { folder, signal, pausedMs } = source
      let bar: Progress | undefined
      const progress: BackupProgress = {
        begin: (total) => {
          bar = createProgress(process.stderr, { label: 'Backing up', total, unit: 'bytes' })
        },
        // Each byte is read twice.
        advance: (bytes) => bar?.advance(bytes / 2),
        signal,
      }
      const manifest = await describeBackup(source, progress)
      await writeArchive(folder, manifest, write, progress)
      bar?.done()
      return { manifest, pausedMs }
    }),
  )
  const hasSetKey = config.jwtSecretKey !== null
  const result =
    values['json'] === true ? asJson(path, bytes, written) : asText(path, bytes, written, hasSetKey)
  // With -, standard output carries the backup.
  if (path === '-') console.error(result)
  else await print(result)
  return 0
}

interface Written {
  manifest: Manifest
  pausedMs: number | null
}

const asJson = (path: string, bytes: number, { manifest, pausedMs }: Written): string =>
  JSON.stringify({
    file: path === '-' ? null : resolve(path),
    bytes,
    created_at: manifest.created_at,
    migration: manifest.migration,
    files: manifest.files.length,
    data_bytes: totalBytes(manifest.files),
    signing_key: manifest.signing_key,
    paused_ms: pausedMs,
  })

function asText(path: string, bytes: number, { manifest, pausedMs }: Written, hasSetKey: boolean): string {
  const megabytes = (count: number): string => `${(count / 1_000_000).toFixed(1)} MB`
  return [
    `${path === '-' ? 'The backup' : path} is complete: ${megabytes(totalBytes(manifest.files))} of data in ${megabytes(bytes)}.`,
    ...(pausedMs === null ? [] : [`The server kept serving; its database paused for ${pausedMs} ms.`]),
    manifest.signing_key
      ? 'It contains the signing key: keep it as secret as the server.'
      : hasSetKey
        ? 'It does not contain the signing key: keep JWT_SECRET_KEY as well.'
        : 'It does not contain a signing key, since there is none in DATA_DIR: if the server is given JWT_SECRET_KEY, keep that as well.',
  ].join('\n')
}
