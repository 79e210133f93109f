/** Where archives can be written to and read from; where they cannot, one sentence and exit code 1. */
import { beforeAll, describe, expect, test } from 'bun:test'
import { chmod, mkdir, open, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expectRefused, giveToProgram } from '../backup/setup.ts'
import { emptyArchive } from '../support/archive.ts'
import { describeExecutable, type RunOptions } from '../support/program.ts'
import { mayMount, onTmpfs } from '../support/tmpfs.ts'

describeExecutable('places of archives', (program) => {
  let folder: string
  let env: Record<string, string>
  beforeAll(async () => {
    folder = await program.folder()
    env = await program.anyDatabase()
    await writeFile(
      join(folder, 'house.jsonl'),
      emptyArchive({ id: '01890000-0000-7000-8000-00000000abcd', slug: 'house' }),
    )
    expect((await program.run(['import', join(folder, 'house.jsonl')], { env })).code).toBe(0)
  }, 60_000)

  const exportTo = (file: string, options: RunOptions = {}) =>
    program.run(['export', '--tenant', 'house', file], { cwd: folder, env, ...options })
  const inShell = (script: string): string[] => ['bash', '-c', script, 'bash']
  /** A folder the program's user may not read. */
  const closedFolder = async (): Promise<string> => {
    const closed = join(await program.folder(), 'closed')
    await mkdir(closed)
    await giveToProgram(closed)
    await chmod(closed, 0o000)
    return closed
  }

  describe('an export', () => {
    test('whose file or standard output cannot be written', async () => {
      const embedded = { DATA_DIR: await program.dataDir('migrated') }
      for (const [command, on] of [
        [['export', '--tenant', 'house', '-'], env],
        [['backup', '-'], embedded],
      ] as const) {
        const full = await program.run([...command], { env: on, under: inShell('exec "$@" >/dev/full') })
        expectRefused(full, 'Standard output cannot be written: the disk or its quota is full')
        const under = inShell('"$@" | true; exit $PIPESTATUS')
        const unread = await program.run([...command], { env: on, under })
        expectRefused(unread, 'Standard output was closed early')
      }
      const nowhere = join(folder, 'no/such/place')
      expectRefused(
        await exportTo(nowhere),
        `${nowhere} cannot be found or created: there is no such file or folder`,
      )
      expectRefused(
        await exportTo('house.jsonl'),
        'house.jsonl exists already; name another file, or remove it.',
      )
      const closed = join(await closedFolder(), 'x.jsonl')
      expectRefused(await exportTo(closed), `${closed} cannot be used: this user may not`)
      expect(await readdir(folder)).toEqual(['house.jsonl'])
    })

    test.skipIf(!mayMount)('onto a disk that is full', async () => {
      const at = await program.folder()
      for (const name of ['x.jsonl', 'x.jsonl.gz'])
        expectRefused(
          await exportTo(join(at, name), { under: onTmpfs({ size: '1m', at, fill: true }) }),
          `${name} cannot be written: the disk or its quota is full`,
        )
    })

    test('from a DATA_DIR that this user may not read', async () => {
      const closed = await closedFolder()
      expectRefused(
        await exportTo('x.jsonl', { env: { DATA_DIR: closed } }),
        `${closed} cannot be used: this user may not`,
      )
    })

    test('does not log slow statements', async () => {
      const slow = { ...env, SLOW_QUERY_MS: '1' }
      const { code, stderr } = await exportTo('slow.jsonl', { env: slow })
      expect([code, stderr]).toEqual([0, expect.not.stringContaining('slow database call')])
    })
  })

  describe('an import', () => {
    test('that is refused does not wait for the end of its input', async () => {
      const fifo = join(folder, 'fifo')
      expect(Bun.spawnSync(['mkfifo', fifo]).exitCode).toBe(0)
      await giveToProgram(fifo)
      // Holding this open keeps the input from ending.
      const writer = await open(fifo, 'r+')
      await writer.write('nonsense\n')
      const outcome = await program.run(['import', '-'], { env, under: inShell(`exec "$@" <'${fifo}'`) })
      await writer.close()
      expectRefused(outcome, 'not a MiniMart archive')
    })

    test('of a file in a folder that this user may not read', async () => {
      const file = join(await closedFolder(), 'house.jsonl')
      expectRefused(await program.run(['import', file], { env }), `${file} cannot be used: this user may not`)
    })

    test('that is tried where there is no database does not create one', async () => {
      const cwd = await program.folder()
      const tried = await program.run(['import', '--dry-run', join(folder, 'house.jsonl')], { cwd })
      expect([tried.code, tried.stdout]).toEqual([0, expect.stringContaining('can be imported')])
      expect(await readdir(cwd)).toEqual([])
    })
  })

  test('neither an export nor a dry run migrates a database; a real import does', async () => {
    const old = { DATA_DIR: await program.dataDir('migrated') }
    const status = async () => (await program.run(['migrate', 'status'], { env: old })).stdout
    expect((await program.run(['migrate', 'down'], { env: old })).code).toBe(0)
    const before = await status()
    expect(before).toContain('pending')
    expectRefused(await exportTo('old.jsonl', { env: old }), /lacks migrations .*minimart migrate up/)
    const archive = join(folder, 'house.jsonl')
    expectRefused(await program.run(['import', '--dry-run', archive], { env: old }), 'lacks migrations')
    expectRefused(
      await program.run(['import', '-'], { env: old, stdin: 'letter\n' }),
      'not a MiniMart archive',
    )
    expect(await status()).toBe(before)
    expect((await program.run(['import', archive], { env: old })).code).toBe(0)
    expect(await status()).not.toContain('pending')
  })
})
