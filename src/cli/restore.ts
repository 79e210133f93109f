import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { totalBytes } from '../backup/manifest.ts'
import { type Restored, type RestoreProgress, restoreBackup } from '../backup/restore.ts'
import { type Arguments, type Command, UsageError } from './command.ts'
import { fileArgument, requireEmbedded } from './embedded-database.ts'
import { print } from './print.ts'
import { createProgress, type Progress } from './progress.ts'
import { setUp } from './setup.ts'

export const restore: Command = {
  summary: 'restore the embedded database from a backup',
  usage: 'FILE [--force] [--json]',
  details: [
    'Stop the server first. FILE is checked as a whole before anything is touched; then it is unpacked into DATA_DIR,',
    'opened once to make sure that it works, and moved into place. If a restore is interrupted at any point, DATA_DIR',
    'holds either what it held before or the whole backup: the next start finishes the job.',
    '',
    '  DATA_DIR=./restored minimart restore minimart-2026-11-22.tar.gz',
    '',
    'DATA_DIR must be empty or missing, or:',
    '--force  move the database, the signing key and the outbox in it to DATA_DIR/replaced-<time>; nothing is deleted,',
    '         so remove that folder when you no longer need it',
    '--json   print the result as one line of JSON',
    '',
    'The next start migrates a backup of an older release. A backup of a newer release is refused.',
    '',
    'What was revoked since the backup was made holds again: ended sessions, old passwords, used invitations, removed',
    'members. Do it again, and set a new JWT_SECRET_KEY to sign everyone out.',
  ].join('\n'),
  options: { force: { type: 'boolean' }, json: { type: 'boolean' } },
  positionals: 1,
  run,
}

async function run({ positionals, values }: Arguments): Promise<number> {
  const file = fileArgument('restore', positionals)
  if (file === '-' || (await isStream(file)))
    throw new UsageError(
      'restore reads its file twice, to check it before it changes anything: give it a regular file.',
    )
  const { config } = setUp({}, 'error')
  requireEmbedded('restore', config)
  const { dataDir } = config
  const restored = await restoreBackup({
    file,
    dataDir,
    force: values['force'] === true,
    progress: progress(),
  })
  const result = describe(dataDir, restored)
  await print(values['json'] === true ? JSON.stringify(result) : asText(result, config.jwtSecretKey !== null))
  return 0
}

/** A missing file and a folder are reported where they are opened. */
async function isStream(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null)
  return found !== null && !found.isFile() && !found.isDirectory()
}

const labels = { check: 'Checking', unpack: 'Unpacking' }

function progress(): RestoreProgress {
  let current: Progress | undefined
  return {
    begin(what, total) {
      current = createProgress(process.stderr, { label: labels[what], total, unit: 'bytes' })
    },
    advance: (bytes) => current?.advance(bytes),
    end: () => current?.done(),
  }
}

interface Result {
  data_dir: string
  created_at: string
  minimart: string
  migration: string | null
  files: number
  data_bytes: number
  signing_key: boolean
  replaced: string | null
}

function describe(dataDir: string, { manifest, replaced }: Restored): Result {
  const { created_at, minimart, migration, files, signing_key } = manifest
  return {
    data_dir: dataDir,
    created_at,
    minimart,
    migration,
    files: files.length,
    data_bytes: totalBytes(files),
    signing_key,
    replaced: replaced === null ? null : join(dataDir, replaced),
  }
}

function asText({ data_dir, created_at, minimart, signing_key, replaced }: Result, hasKey: boolean): string {
  return [
    `Restored the backup of ${created_at} (MiniMart ${minimart}) to ${data_dir}.`,
    ...(replaced === null ? [] : [`What was there before is in ${replaced}.`]),
    ...(signing_key || hasKey
      ? []
      : [
          'It contains no signing key: set JWT_SECRET_KEY to its old value, or everyone has to sign in again.',
        ]),
    'Start it with: minimart serve',
  ].join('\n')
}
