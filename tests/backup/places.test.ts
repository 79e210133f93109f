/** Where a backup may be written and restored to, and the message where it may not. */
import { beforeAll, describe, expect, test } from 'bun:test'
import { chmod, copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describeExecutable } from '../support/program.ts'
import { asRoot, expectRefused, fingerprint, giveToProgram, resultOf, serve, stop } from './setup.ts'

describeExecutable('places', (program) => {
  let folder: string
  let env: { DATA_DIR: string; PORT: string }
  beforeAll(async () => {
    const dataDir = await program.dataDir('migrated')
    folder = dirname(dataDir)
    env = { DATA_DIR: dataDir, PORT: '0' }
    await write(join(folder, 'data/jwt-secret-key'), 'k'.repeat(64))
    expect((await program.run(['backup', join(folder, 'good.tar.gz')], { env })).code).toBe(0)
  }, 60_000)

  const write = async (path: string, content: string): Promise<void> => {
    await writeFile(path, content)
    await giveToProgram(path)
  }
  const restore = (file: string, dataDir: string, ...more: string[]) =>
    program.run(['restore', file, ...more], { env: { DATA_DIR: dataDir } })

  describe('restore', () => {
    test('into a folder that is not empty, unless forced, which moves its contents aside and deletes nothing', async () => {
      const target = join(folder, 'taken')
      expect(Bun.spawnSync(['cp', '-a', env.DATA_DIR, target]).exitCode).toBe(0)
      await write(join(target, 'jwt-secret-key'), 'o'.repeat(64))
      await write(join(target, 'notes.txt'), 'not ours')
      await mkdir(join(target, 'outbox'))
      await writeFile(join(target, 'outbox/1.eml'), 'mail')
      if (asRoot) {
        // The program's user may not move this folder, and must find out before moving anything.
        const locked = await fingerprint(target)
        expectRefused(await restore(join(folder, 'good.tar.gz'), target, '--force'), 'may not')
        expect(await fingerprint(target)).toEqual(locked)
        await giveToProgram(join(target, 'outbox'))
      }
      const before = await fingerprint(target)
      expectRefused(await restore(join(folder, 'good.tar.gz'), target), /not empty(.|\n)*--force/)
      expect(await fingerprint(target)).toEqual(before)
      const result = resultOf(await restore(join(folder, 'good.tar.gz'), target, '--force', '--json'))
      const aside = String(result['replaced'])
      expect(aside).toStartWith(join(target, 'replaced-'))
      const kept = await fingerprint(aside)
      const moved = Object.entries(before ?? {}).filter(([name]) =>
        /^(database|jwt-secret-key|outbox)/.test(name),
      )
      expect(kept).toEqual(Object.fromEntries(moved))
      expect(await readFile(join(target, 'jwt-secret-key'), 'utf8')).toBe('k'.repeat(64))
      expect(
        (await readdir(target)).filter((name) => !/^(lock.*|replaced-.*)$/.test(name)).toSorted(),
      ).toEqual(['database', 'jwt-secret-key', 'notes.txt'])
    })

    test('from a pipe, because it is read twice', async () => {
      const fifo = join(folder, 'fifo')
      expect(Bun.spawnSync(['mkfifo', fifo]).exitCode).toBe(0)
      await giveToProgram(fifo)
      for (const file of ['-', fifo])
        expectRefused(await restore(file, join(folder, 'piped')), 'reads its file twice', 2)
    })

    test('under a running server, immediately; the server is not affected', async () => {
      const running = await serve(program, env)
      expectRefused(
        await restore(join(folder, 'good.tar.gz'), join(folder, 'data'), '--force'),
        'Another MiniMart',
      )
      expect((await fetch(`${running.url}/readyz`)).status).toBe(200)
      await stop(running)
    })
  })

  describe('backup', () => {
    const backup = (...args: string[]) => program.run(['backup', ...args], { env })

    test('over an existing file, unless forced; never over a folder or device; without a path', async () => {
      const file = join(folder, 'there.tar.gz')
      await writeFile(file, 'precious', { mode: 0o644 })
      expectRefused(await backup(file), /exists already(.|\n)*--force/)
      expect(await readFile(file, 'utf8')).toBe('precious')
      // A leftover of an interrupted backup does not matter, whatever its permissions.
      await copyFile(file, `${file}.part`)
      await chmod(`${file}.part`, 0o666)
      const replaced = await program.run(['backup', file, '--force'], { env, terminal: true })
      expect(replaced.code).toBe(0)
      // A progress bar on a terminal, lines in a pipe.
      expect(replaced.stdout).toContain('█'.repeat(30))
      const { stdout, stderr } = await backup(join(folder, 'piped.tar.gz'))
      expect(
        stderr
          .trim()
          .split('\n')
          .map((line) => line.replace(/ of .*/, '')),
      ).toEqual([25, 50, 75, 100].map((part) => `Backing up ${part} %`))
      const total = Number(/of ([\d,]+) bytes/.exec(stderr)?.[1]?.replaceAll(',', ''))
      expect(stdout).toContain(`complete: ${(total / 1_000_000).toFixed(1)} MB of data`)
      expect(stdout).toContain('keep it as secret as the server')
      expect((await readdir(folder)).filter((name) => name.endsWith('.part'))).toEqual([])
      expect(Bun.spawnSync(['tar', '-tzf', file]).stdout.toString()).toStartWith('manifest.json\n')
      expectRefused(await backup(folder, '--force'), 'not a file')
      expectRefused(await backup('/dev/null', '--force'), 'not a file')
      expectRefused(await backup(join(folder, 'no/such/place')), 'no such file or folder')
    })

    test('to a terminal; and it says which key must be kept', async () => {
      const shown = await program.run(['backup', '-'], { env, terminal: true })
      expect([shown.code, shown.stdout]).toEqual([
        2,
        expect.stringContaining('cannot be printed on a terminal'),
      ])
      const keyless = { DATA_DIR: await program.dataDir('migrated') }
      const file = join(await program.folder(), 'x.tar.gz')
      const unset = await program.run(['backup', file], { env: keyless })
      expect(unset.stdout).toContain('there is none in DATA_DIR')
      const set = { ...keyless, JWT_SECRET_KEY: 'tests only: long enough to sign with, 0123456789' }
      expect((await program.run(['backup', file, '--force'], { env: set })).stdout).toContain(
        'It does not contain the signing key: keep JWT_SECRET_KEY as well.',
      )
    })

    test('where this user may not write: nothing is left there', async () => {
      const closed = join(folder, 'closed')
      await mkdir(closed, { mode: 0o555 })
      expectRefused(await backup(join(closed, 'x.tar.gz')), /may not.*permissions/)
      expect(await readdir(closed)).toEqual([])
    })

    test('where there is no database', async () => {
      const nowhere = join(folder, 'nothing-here')
      expectRefused(
        await program.run(['backup', 'x'], { env: { DATA_DIR: nowhere } }),
        'There is no database in',
      )
      expect(await fingerprint(nowhere)).toBeNull()
      const empty = await program.folder()
      const outcome = await program.run(['backup', 'x'], { env: { DATA_DIR: empty } })
      expectRefused(outcome, 'There is no database in')
      expect(await readdir(empty)).not.toContain('database')
    })
  })

  test.skipIf(!asRoot)('a disk that is full, or too full for the copy: nothing is left there', async () => {
    const disk = join(folder, 'disk')
    await mkdir(disk)
    const mount = (size: string) =>
      expect(
        Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', `size=${size},mode=777`, 'tmpfs', disk]).exitCode,
      ).toBe(0)
    const unmount = () => Bun.spawnSync(['umount', '-l', disk])
    mount('2m')
    try {
      expectRefused(await program.run(['backup', join(disk, 'x.tar.gz')], { env }), 'quota is full')
      expectRefused(
        await restore(join(folder, 'good.tar.gz'), join(disk, 'data')),
        /MB are needed.*2 MB free/,
      )
      expect(await readdir(disk)).toEqual([])
    } finally {
      unmount()
    }
    mount('100m')
    try {
      const tight = { ...env, DATA_DIR: join(disk, 'data') }
      expect(Bun.spawnSync(['cp', '-a', join(folder, 'data'), disk]).exitCode).toBe(0)
      const running = await serve(program, tight)
      const outcome = await program.run(['backup', join(folder, 'x.tar.gz')], { env: tight })
      expectRefused(outcome, /no room for a copy.*MB are needed/)
      expect((await fetch(`${running.url}/readyz`)).status).toBe(200)
      expect(await readdir(tight.DATA_DIR)).not.toContain('backup-copy')
      await stop(running)
      // Without a running server no copy is needed.
      resultOf(await program.run(['backup', join(folder, 'x.tar.gz'), '--json'], { env: tight }))
    } finally {
      unmount()
    }
  })

  test.each(['backup', 'restore'])(
    '%s is refused with DATABASE_URL, naming what to use instead; and without a file',
    async (command) => {
      const postgres = { DATABASE_URL: 'postgres://a:sesame@127.0.0.1:1/c', JWT_SECRET_KEY: 'k'.repeat(40) }
      const outcome = await program.run([command, 'x'], { env: postgres })
      expectRefused(outcome, command === 'backup' ? 'pg_dump' : 'pg_restore')
      expect(outcome.stderr).toContain('minimart export')
      expect(outcome.stderr).not.toContain('sesame')
      expectRefused(await program.run([command]), `minimart ${command} FILE`, 2)
      expectRefused(await program.run([command, 'a', 'b']), 'Try: minimart help', 2)
      expect((await program.run(['help', command])).stdout).toContain('--force')
    },
  )
})
