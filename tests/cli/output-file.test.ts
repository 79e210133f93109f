/** An output file gets its name only when it is complete, whoever else writes there. */
import { afterAll, expect, test } from 'bun:test'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openOutputFile } from '../../src/cli/output-file.ts'

const folder = await mkdtemp(join(tmpdir(), 'minimart-target-'))
afterAll(() => rm(folder, { recursive: true, force: true }))
const where = { force: false, remedy: 'remove it' }
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

test('of two concurrent writers of one file, one writes all of it and the other gets an error', async () => {
  const path = join(folder, 'both')
  const first = await openOutputFile(path, where)
  const second = await openOutputFile(path, where)
  await first.write(bytes('first'))
  await second.write(bytes('sec'))
  await expect(first.commit()).rejects.toThrow('Something else writes to')
  first.discard()
  await second.write(bytes('ond'))
  expect(await second.commit()).toBe(6)
  expect(await readFile(path, 'utf8')).toBe('second')
  expect((await stat(path)).mode & 0o777).toBe(0o600)
})

test('a file created meanwhile is not overwritten', async () => {
  const path = join(folder, 'meanwhile')
  const target = await openOutputFile(path, where)
  await target.write(bytes('new'))
  await writeFile(path, 'precious')
  await expect(target.commit()).rejects.toThrow('exists already; name another file, or remove it.')
  target.discard()
  expect(await readFile(path, 'utf8')).toBe('precious')
  expect((await readdir(folder)).filter((name) => name.startsWith('meanwhile'))).toEqual(['meanwhile'])
})
