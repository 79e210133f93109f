/** Files that change while the server keeps running are in the copy as they were at the checkpoint. */
import { afterAll, expect, test } from 'bun:test'
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { copyDataDir } from '../../src/backup/copy.ts'
import type { Checkpoint } from '../../src/db/embedded/quiesce.ts'

const dataDir = await mkdtemp(join(tmpdir(), 'minimart-copy-'))
afterAll(() => rm(dataDir, { recursive: true, force: true }))

const checkpoint: Checkpoint = {
  at: '2026-11-22T07:00:00.000Z',
  postgres: '18.0',
  migrations: [],
  wal: { first: '000000010000000000000002', last: '000000010000000000000003' },
  checkpointMs: 1,
}
const long = new Date(Date.now() - 60_000)
const write = async (path: string, content: string, time = long): Promise<void> => {
  await writeFile(join(dataDir, 'database', path), content)
  await utimes(join(dataDir, 'database', path), time, time)
}
const contentsOf = async (folder: string): Promise<Record<string, string>> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const read = files
    .toSorted()
    .map(async (path) => [path.slice(folder.length + 1), await readFile(path, 'utf8')])
  return Object.fromEntries(await Promise.all(read))
}

test('changed, grown, deleted, new, and changed with an old mtime: the copy matches the quiesced folder', async () => {
  await mkdir(join(dataDir, 'database/pg_wal'), { recursive: true })
  for (const name of ['same', 'changed', 'sly', 'gone']) await write(name, 'before')
  await write('fresh', 'before', new Date())
  const whileQuiesced = async <T>(work: (checkpoint: Checkpoint) => Promise<T>): Promise<T> => {
    expect(Object.keys(await contentsOf(join(dataDir, 'backup-copy')))).toEqual(
      ['changed', 'gone', 'same', 'sly'].map((name) => `database/${name}`),
    )
    await write('changed', 'after, and longer', new Date())
    await write('sly', 'after.')
    await write('fresh', 'after.', new Date())
    await rm(join(dataDir, 'database/gone'))
    await mkdir(join(dataDir, 'database/made'))
    await write('made/new', 'after')
    await write('postmaster.pid', '-42')
    for (const segment of [1, 2, 3, 4]) await write(`pg_wal/00000001000000000000000${segment}`, 'wal')
    return await work(checkpoint)
  }
  await copyDataDir({ dataDir, db: { whileQuiesced }, signal: new AbortController().signal })
  expect(await contentsOf(join(dataDir, 'backup-copy'))).toEqual({
    'database/changed': 'after, and longer',
    'database/fresh': 'after.',
    'database/made/new': 'after',
    'database/pg_wal/000000010000000000000002': 'wal',
    'database/pg_wal/000000010000000000000003': 'wal',
    'database/same': 'before',
    'database/sly': 'after.',
  })
})
