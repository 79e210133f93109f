/** A file that is not a complete backup of a known release is refused, and nothing is touched. */
import { beforeAll, expect, test } from 'bun:test'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { extract, type Header, pack } from 'tar-stream'
import { type RestoreProgress, restoreBackup } from '../../src/backup/restore.ts'
import { OperatorError } from '../../src/errors.ts'
import { failureOf } from '../db/setup.ts'
import { describeExecutable } from '../support/program.ts'
import { expectRefused, fingerprint, giveToProgram } from './setup.ts'

interface Entry {
  header: Partial<Header> & { name: string }
  content: Buffer
}

describeExecutable('a bad backup', (program) => {
  let folder: string
  let good: Buffer
  let entries: Entry[]
  let env: Record<string, string>
  let untouched: Awaited<ReturnType<typeof fingerprint>>
  beforeAll(async () => {
    const dataDir = await program.dataDir('migrated')
    folder = dirname(dataDir)
    env = { DATA_DIR: dataDir, PORT: '0' }
    await writeFile(join(folder, 'data/jwt-secret-key'), 'k'.repeat(64))
    await giveToProgram(join(folder, 'data/jwt-secret-key'))
    expect((await program.run(['backup', join(folder, 'good.tar.gz')], { env })).code).toBe(0)
    good = await readFile(join(folder, 'good.tar.gz'))
    entries = await unpack(good)
    untouched = await fingerprint(join(folder, 'data'))
  }, 60_000)

  const restore = (file: string, dataDir: string, ...more: string[]) =>
    program.run(['restore', file, ...more], { env: { DATA_DIR: dataDir } })
  const writeArchive = async (name: string, content: Uint8Array): Promise<string> => {
    await writeFile(join(folder, name), content)
    return join(folder, name)
  }
  let count = 0
  /**
   * Restores into a missing folder, in this process, and with --force into one with a database, by the executable: both
   * must be unchanged afterwards.
   */
  const expectUntouched = async (content: Uint8Array, says: string | RegExp): Promise<void> => {
    const number = ++count
    const file = await writeArchive(`bad-${number}.tar.gz`, content)
    const [nowhere, data] = [join(folder, `nowhere-${number}`), join(folder, 'data')]
    expect(`${await refusalOf(file, nowhere)}\n`).toMatch(says)
    expectRefused(await restore(file, data, '--force'), says)
    expect(await fingerprint(nowhere)).toBeNull()
    expect(await fingerprint(data)).toEqual(untouched)
  }
  const manifest = () => JSON.parse(entries[0]?.content.toString() ?? '')
  const withManifest = (changed: Record<string, unknown>, rest = entries.slice(1)): Promise<Buffer> =>
    repack([{ header: { name: 'manifest.json' }, content: Buffer.from(JSON.stringify(changed)) }, ...rest])

  test.each([0, 0.0001, 0.3, 0.9999])('a file truncated to %d of its length', (part) =>
    expectUntouched(good.subarray(0, Math.floor(good.length * part)), 'cut off'),
  )
  test.each([12, 2000, 0.5])('a flipped byte at %d', (place) => {
    const index = place < 1 ? Math.floor(good.length * place) : place
    return expectUntouched(damagedFrom(good, index), /damaged|cut off|not a MiniMart backup|malformed/)
  })
  test.each<[string, () => Uint8Array | Promise<Uint8Array>]>([
    ['plain text', () => Buffer.from('Dear diary, today I made a backup.\n')],
    ['plain text, gzipped', () => gzipSync('x'.repeat(3000))],
    [
      'a tar of something else',
      () => repack([{ header: { name: 'notes.txt' }, content: Buffer.from('hi') }]),
    ],
    ['JSON that is not ours', () => withManifest({ format: 'other', format_version: 1 })],
  ])('%s', async (_, make) => expectUntouched(await make(), 'not a MiniMart backup'))

  test('a backup of a newer release, by its migration and by its format', async () => {
    const newer = { version: 999, name: '0999_from_the_future', checksum: 'ab' }
    const { migrations } = manifest()
    const future = {
      ...manifest(),
      migration: newer.name,
      migrations: [...migrations, newer],
      minimart: '9.9.9',
    }
    await expectUntouched(
      await withManifest(future),
      /MiniMart 9\.9\.9(.|\n)*newer than this program.*0999_from/,
    )
    const reformed = { ...manifest(), format_version: 2, minimart: '9.9.9' }
    await expectUntouched(await withManifest(reformed), /format 2.*MiniMart 9\.9\.9/)
    const [first, ...others] = migrations
    const edited = { ...manifest(), migrations: [{ ...first, checksum: 'ab' }, ...others] }
    await expectUntouched(await withManifest(edited), 'changed after it was applied')
  })

  test('terminal control sequences in a backup are not printed', async () => {
    const sly = '1.0\u001b[2J'
    const changes: Record<string, unknown>[] = [
      { minimart: sly },
      { created_at: sly },
      { postgres: sly },
      { migrations: [{ version: 1, name: sly, checksum: 'ab' }] },
    ]
    for (const change of changes)
      await expectUntouched(
        await withManifest({ ...manifest(), ...change }),
        /^The \P{Cc}*malformed\P{Cc}*\n$/u,
      )
    const reformed = { ...manifest(), format_version: 2, minimart: sly }
    await expectUntouched(await withManifest(reformed), /^This \P{Cc}*the release that made it, or a newer/u)
  }, 90_000)

  test('paths that lead out of the folder, whether the manifest lists them or not', async () => {
    const escaping = [
      '../evil',
      '/tmp/evil',
      'database/../../evil',
      'database/./x',
      'lock',
      'database//x',
      'outbox/x',
    ]
    await Promise.all(
      escaping.map(async (path, index) => {
        const files = [...manifest().files, { path, size: 0, sha256: '0'.repeat(64) }]
        const extra = { header: { name: path }, content: Buffer.alloc(0) }
        const archive = await withManifest({ ...manifest(), files }, [...entries.slice(1), extra])
        const file = await writeArchive(`escaping-${index}.tar.gz`, archive)
        expect(await refusalOf(file, join(folder, 'nowhere'))).toMatch('malformed')
      }),
    )
    expect(await readdir(folder)).not.toContain('evil')
    const smuggled = { header: { name: '../evil' }, content: Buffer.from('evil') }
    await expectUntouched(await repack([...entries, smuggled]), 'more than its manifest lists')
    const empty = entries.findIndex(({ header, content }) => header.type === 'file' && content.length === 0)
    const name = entries[empty]?.header.name ?? ''
    const link = {
      header: { name, type: 'symlink', linkname: '/etc/passwd' } as const,
      content: Buffer.alloc(0),
    }
    const linked = entries.with(empty, link)
    await expectUntouched(await repack(linked), 'holds something else')
  }, 90_000)

  test('changed, missing or reordered entries in an otherwise intact archive', async () => {
    const changed = entries.map(({ header, content }) => ({
      header,
      content: header.name === 'database/PG_VERSION' ? Buffer.from('17\n') : content,
    }))
    await expectUntouched(await repack(changed), 'the checksum of database/PG_VERSION')
    await expectUntouched(await repack(entries.slice(0, -1)), 'cut off')
    const [first, ...rest] = entries
    await expectUntouched(await repack(first ? [first, ...rest.toReversed()] : []), 'holds something else')
  })

  test('a database that does not open, although every checksum is right', async () => {
    const content = Buffer.alloc(8192, 1)
    const broken = entries.map((entry) =>
      entry.header.name === 'database/global/pg_control'
        ? { header: { name: entry.header.name }, content }
        : entry,
    )
    const sha256 = new Bun.CryptoHasher('sha256').update(content).digest('hex')
    const files = manifest().files.map((file: { path: string }) =>
      file.path === 'database/global/pg_control' ? { ...file, size: content.length, sha256 } : file,
    )
    await writeArchive('bad.tar.gz', await withManifest({ ...manifest(), files }, broken.slice(1)))
    expectRefused(await restore(join(folder, 'bad.tar.gz'), join(folder, 'data'), '--force'), 'does not open')
    expect(await fingerprint(join(folder, 'data'))).toEqual(untouched)
  })
})

const silent: RestoreProgress = { begin: () => undefined, advance: () => undefined, end: () => undefined }

async function refusalOf(file: string, dataDir: string): Promise<string> {
  const error = await failureOf(restoreBackup({ file, dataDir, force: false, progress: silent }))
  expect(error).toBeInstanceOf(OperatorError)
  return error instanceof Error ? error.message : ''
}

/** With a bit changed in the first byte from there on where that matters: in a run of zeros a distance may be any. */
function damagedFrom(archive: Buffer, index: number): Buffer {
  const content = gunzipSync(archive)
  for (let at = index; at < archive.length; at++) {
    const damaged = Buffer.from(archive)
    damaged[at] = (damaged[at] ?? 0) ^ 0x10
    try {
      if (!gunzipSync(damaged).equals(content)) return damaged
    } catch {
      return damaged
    }
  }
  throw new Error('no byte matters')
}

async function unpack(archive: Buffer): Promise<Entry[]> {
  const found: Entry[] = []
  const reader = extract()
  reader.end(gunzipSync(archive))
  for await (const entry of reader) {
    const chunks: Uint8Array[] = []
    for await (const chunk of entry) if (chunk instanceof Uint8Array) chunks.push(chunk)
    const { name, type } = entry.header
    found.push({ header: { name, type }, content: Buffer.concat(chunks) })
  }
  return found
}

/** Packed and compressed as the program does it, whatever the content. */
async function repack(content: readonly Entry[]): Promise<Buffer> {
  const writer = pack()
  for (const entry of content) writer.entry(entry.header, entry.content)
  writer.finalize()
  const chunks: Uint8Array[] = []
  for await (const chunk of writer) if (chunk instanceof Uint8Array) chunks.push(chunk)
  return gzipSync(Buffer.concat(chunks), { level: 1 })
}
