import { resolve } from 'node:path'
import { describeBackup, type Watch, writeArchive } from '../backup/backup-writer.ts'
import { type Manifest, totalBytes } from '../backup/manifest.ts'
import { withQuiescedFolder } from '../backup/source.ts'
import { type Arguments, type Command, UsageError } from './command.ts'
import { embeddedOnly, fileArgument, reportServer } from './embedded-only.ts'
import { print } from './print.ts'
import { createProgress, type Progress } from './progress.ts'
import { setUp } from './setup.ts'
import { withWholeFile } from './whole-file.ts'

export const backup: Command = {
  summary: 'save the embedded database into one file, while the server runs or not',
  usage: 'FILE [--force] [--json]',
  details: [
    'FILE becomes a gzipped tar: a manifest with checksums, the database of DATA_DIR as it stood at one moment, and the',
    'key that signs tokens, where it was generated into DATA_DIR. With it, people stay signed in after a restore; so',
    'keep the file as secret as the server. Not in it: the outbox, and settings such as JWT_SECRET_KEY.',
    '',
    '  minimart backup minimart-$(date +%F).tar.gz',
    "  minimart backup - | ssh elsewhere 'cat > minimart.tar.gz'",
    '',
    'A running server is asked for a copy of its folder (the disk needs room for it) and goes on serving: only while what',
    'has just changed is copied do requests wait. Every write that was answered before the backup began is in it.',
    '',
    '--force  replaces FILE if it is there',
    '--json   tells the result as one line of JSON',
    '',
    'minimart restore FILE is the way back. PostgreSQL (DATABASE_URL) is backed up with pg_dump.',
  ].join('\n'),
  options: { force: { type: 'boolean' }, json: { type: 'boolean' } },
  positionals: 1,
  run,
}

async function run({ positionals, values }: Arguments): Promise<number> {
  const path = fileArgument('backup', positionals)
  if (path === '-' && process.stdout.isTTY)
    throw new UsageError('A backup is nothing for a terminal: name a file, or pipe it on.')
  const { config, log } = setUp({}, 'error')
  embeddedOnly('backup', config)
  const where = { force: values['force'] === true, instead: 'add --force to replace it' }
  const [made, bytes] = await withWholeFile(path, where, (write) =>
    withQuiescedFolder({ dataDir: config.dataDir, log, onServer: reportServer }, async (source) => {
      const { folder, signal, pausedMs } = source
      let progress: Progress | undefined
      const watch: Watch = {
        expect: (total) => {
          progress = createProgress(process.stderr, { label: 'Backing up', total, unit: 'bytes' })
        },
        // Each byte is read twice.
        advance: (bytes) => progress?.advance(bytes / 2),
        signal,
      }
      const manifest = await describeBackup(folder, source, watch)
      await writeArchive(folder, manifest, write, watch)
      progress?.done()
      return { manifest, pausedMs }
    }),
  )
  const hasSetKey = config.jwtSecretKey !== null
  const told = values['json'] === true ? asJson(path, bytes, made) : inWords(path, bytes, made, hasSetKey)
  // Standard output is the archive's own where it goes there.
  if (path === '-') console.error(told)
  else await print(told)
  return 0
}

interface Made {
  manifest: Manifest
  pausedMs: number | null
}

const asJson = (path: string, bytes: number, { manifest, pausedMs }: Made): string =>
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

function inWords(path: string, bytes: number, { manifest, pausedMs }: Made, hasSetKey: boolean): string {
  const megabytes = (count: number): string => `${(count / 1_000_000).toFixed(1)} MB`
  return [
    `${path === '-' ? 'The backup' : path} is whole: ${megabytes(totalBytes(manifest.files))} of data in ${megabytes(bytes)}.`,
    ...(pausedMs === null ? [] : [`The server went on; its database paused for ${pausedMs} ms.`]),
    manifest.signing_key
      ? 'It holds the signing key: keep it as secret as the server.'
      : hasSetKey
        ? 'It holds no signing key: keep JWT_SECRET_KEY too.'
        : 'It holds no signing key, for there is none in DATA_DIR: where the server is given JWT_SECRET_KEY, keep that too.',
  ].join('\n')
}
