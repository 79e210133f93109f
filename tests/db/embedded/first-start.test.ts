/** The first start of the embedded database is all or nothing, private to its owner, and durable. */
import { expect, test } from 'bun:test'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { chmod, chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describeExecutable } from '../../support/program.ts'
import { until } from '../../support/until.ts'

const strace = Bun.which('strace')
const nobody = 65_534

/** Chowned to the program's user. */
async function own(...paths: string[]): Promise<void> {
  if (process.getuid?.() === 0) for (const path of paths) await chown(path, nobody, nobody)
}

const everything = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true }).map(({ parentPath, name }) =>
    join(parentPath, name),
  )

describeExecutable('the embedded database', (program) => {
  const migrateUp = (dataDir: string) => program.run(['migrate', 'up'], { env: { DATA_DIR: dataDir } })

  test('a first start killed halfway leaves nothing that a later one would use', async () => {
    const dataDir = await program.dataDir()
    const started = await program.start(['migrate', 'up'], { env: { DATA_DIR: dataDir } })
    const unfinished = join(dataDir, 'database.unfinished')
    await until(() => existsSync(join(unfinished, 'base')), 'the database to be in the making')
    started.signal('SIGKILL')
    await started.exited
    expect(existsSync(join(dataDir, 'database'))).toBe(false)
    expect(await migrateUp(dataDir)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('0000_initial'),
    })
    expect(readdirSync(dataDir).sort()).toEqual(['database', 'lock'])
  })

  test('a first start creates a database that only its owner can access, even in an open folder, and that starts again', async () => {
    const dataDir = await program.dataDir()
    const database = join(dataDir, 'database')
    await mkdir(database, { recursive: true })
    await chmod(database, 0o755)
    await own(dataDir, database)
    for (const _ of ['first', 'second']) expect(await migrateUp(dataDir)).toMatchObject({ code: 0 })
    const open = [database, ...everything(database)].filter((path) => (statSync(path).mode & 0o077) !== 0)
    expect(open).toEqual([])
  })

  test('a first start refuses a folder with other content, and leaves it alone', async () => {
    const dataDir = await program.dataDir()
    const database = join(dataDir, 'database')
    await mkdir(database, { recursive: true })
    await writeFile(join(database, 'notes.txt'), 'mine')
    await own(dataDir, database, join(database, 'notes.txt'))
    const { code, stderr } = await migrateUp(dataDir)
    expect(code).toBe(1)
    expect(stderr).toContain(`${database} holds files but no database`)
    expect(stderr).not.toMatch(/^ +at /m)
    const checked = await program.run(['check', '--json'], { env: { DATA_DIR: dataDir } })
    expect(checked.stdout).toMatch(/"check":"database","ok":false,"detail":"[^"]*holds files but no database/)
    await rm(join(dataDir, 'outbox'), { recursive: true, force: true })
    expect(everything(dataDir).sort()).toEqual([database, join(database, 'notes.txt'), join(dataDir, 'lock')])
    expect(await readFile(join(database, 'notes.txt'), 'utf8')).toBe('mine')
  })

  test.skipIf(strace === null)(
    'a first start fsyncs every file before moving the database into place',
    async () => {
      const dataDir = await program.dataDir()
      const trace = join(await program.folder(), 'trace')
      const traced = [
        'strace',
        '-f',
        '-y',
        '--seccomp-bpf',
        '-e',
        'trace=fsync,fdatasync,/^rename',
        '-o',
        trace,
      ]
      // Creates the database and, without AUTO_MIGRATE, changes nothing afterwards.
      const env = { DATA_DIR: dataDir, PORT: '0', AUTO_MIGRATE: 'false' }
      const { code, stderr } = await program.run([], { env, under: traced })
      expect([code, stderr]).toEqual([1, expect.stringContaining('lacks migrations')])
      const [before = '', after = ''] = (await readFile(trace, 'utf8')).split(
        /^.*rename.*database\.unfinished".*$/m,
      )
      const synced = new Set([...before.matchAll(/sync\(\d+<([^>]+)>/g)].map(([, path]) => path))
      const unfinished = join(dataDir, 'database.unfinished')
      const files = everything(join(dataDir, 'database')).map((path) =>
        path.replace(join(dataDir, 'database'), unfinished),
      )
      // Opening the database afterwards recreates some files.
      const missed = files.filter(
        (path) => !synced.has(path) && !/pg_wal|pg_stat|postmaster|pg_internal/.test(path),
      )
      expect(missed).toEqual([])
      expect(synced.has(unfinished)).toBe(true)
      expect(after).toContain(`<${dataDir}>`)
    },
  )

  test('the temporary folder holds the native library once, however often the program starts', async () => {
    const temporary = await program.folder()
    const env = { DATA_DIR: await program.dataDir(), TMPDIR: temporary }
    const check = () => program.run(['check'], { env })
    await Promise.all([check(), check(), check()])
    await check()
    expect(readdirSync(temporary).length).toBe(1)
  })
})
