import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { totalBytes } from '../backup/manifest.ts'
import { type Restored, type RestoreProgress, restoreBackup } from '../backup/unpack.ts'
import { type Arguments, type Command, UsageError } from './command.ts'
import { embeddedOnly, fileArgument } from './embedded-only.ts'
import { print } from './print.ts'
import { createProgress, type Progress } from './progress.ts'
import { setUp } from './setup.ts'

export const restore: Command = {
  summary: 'bring back the embedded database from a file that backup made',
  usage: 'FILE [--force] [--json]',
  details: [
    'Stop the server first. The whole FILE is checked before anything is touched; then it is unpacked into DATA_DIR beside',
    'what is there, opened once to see that it works, and put in its place. Cut off at any moment, DATA_DIR holds either',
    'what it held before or all of the backup: the next start completes what was begun.',
    '',
    '  DATA_DIR=./restored minimart restore minimart-2026-11-22.tar.gz',
    '',
    'DATA_DIR must be empty or not there, or:',
    '--force  sets aside the database, the signing key and the outbox that are there, in DATA_DIR/replaced-<time>;',
    '         nothing is deleted: remove that folder when you no longer need it',
    '--json   tells the result as one line of JSON',
    '',
    'A backup of an older release is brought up to date by the next start; one of a newer release is refused.',
  ].join('\n'),
  options: { force: { type: 'boolean' }, json: { type: 'boolean' } },
  positionals: 1,
  run,
}

async function run({ positionals, values }: Arguments): Promise<number> {
  const file = fileArgument('restore', positionals)
  if (file === '-' || (await isStream(file)))
    throw new UsageError(
      'restore reads its file twice, to check it before it touches anything: give it a file.',
    )
  const { config } = setUp({}, 'error')
  embeddedOnly('restore', config)
  const { dataDir } = config
  const restored = await restoreBackup({
    file,
    dataDir,
    force: values['force'] === true,
    progress: progress(),
  })
  const result = describe(dataDir, restored)
  await print(
    values['json'] === true ? JSON.stringify(result) : inWords(result, config.jwtSecretKey !== null),
  )
  return 0
}

/** What is not there, or a folder, is told about where it is opened. */
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

function inWords({ data_dir, created_at, minimart, signing_key, replaced }: Result, hasKey: boolean): string {
  return [
    `Restored the backup of ${created_at} (MiniMart ${minimart}) into ${data_dir}.`,
    ...(replaced === null ? [] : [`What was there before is in ${replaced}.`]),
    ...(signing_key || hasKey
      ? []
      : ['It holds no signing key: set JWT_SECRET_KEY to what it was, or everybody has to sign in anew.']),
    'Start it with: minimart serve',
  ].join('\n')
}
