import { resolve } from 'node:path'
import { describeBackup, type Watch, writeArchive } from '../backup/archive-writer.ts'
import { type Manifest, totalBytes } from '../backup/manifest.ts'
import { withStillFolder } from '../backup/source.ts'
import { openTarget, standardOutput } from '../backup/target.ts'
import type { Arguments, Command } from './command.ts'
import { embeddedOnly, fileArgument, tellAsked, told } from './embedded-only.ts'
import { createProgress, type Progress } from './progress.ts'
import { setUp } from './setup.ts'

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
  run: (args) => told(() => run(args)),
}

async function run({ positionals, values }: Arguments): Promise<number> {
  const path = fileArgument('backup', positionals)
  const { config, log } = setUp({}, 'error')
  embeddedOnly('backup', config)
  const target = path === '-' ? standardOutput() : await openTarget(path, values['force'] === true)
  try {
    const made = await withStillFolder({ dataDir: config.dataDir, log, asked: tellAsked }, async (source) => {
      const { folder, signal, pausedMs } = source
      let progress: Progress | undefined
      const watch: Watch = {
        expect: (total) => {
          progress = createProgress(process.stderr, { label: 'Backing up', total: 2 * total, unit: 'bytes' })
        },
        advance: (bytes) => progress?.advance(bytes),
        signal,
      }
      const manifest = await describeBackup(folder, source, watch)
      await writeArchive(folder, manifest, target.write, watch)
      progress?.done()
      return { manifest, pausedMs }
    })
    const bytes = await target.commit()
    // Where the archive went to standard output, what is said about it must not.
    const say = path === '-' ? console.error : console.log
    say(values['json'] === true ? asJson(path, bytes, made) : inWords(path, bytes, made))
    return 0
  } catch (error) {
    await target.discard()
    throw error
  }
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

function inWords(path: string, bytes: number, { manifest, pausedMs }: Made): string {
  const megabytes = (count: number): string => `${(count / 1_000_000).toFixed(1)} MB`
  return [
    `${path === '-' ? 'The backup' : path} is whole: ${megabytes(totalBytes(manifest.files))} of data in ${megabytes(bytes)}.`,
    ...(pausedMs === null ? [] : [`The server went on; its database paused for ${pausedMs} ms.`]),
    manifest.signing_key
      ? 'It holds the signing key: keep it as secret as the server.'
      : 'It holds no signing key: keep JWT_SECRET_KEY too.',
  ].join('\n')
}
