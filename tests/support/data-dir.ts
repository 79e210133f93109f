/**
 * Creating an embedded database takes seconds of CPU, copying one a fraction. So tests/run.ts creates two, and tests
 * that are not about the first start begin with a copy. Without them (plain `bun test`) the data folder stays empty and
 * the service creates its own database.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'

/** `empty`: no migration applied yet; `migrated`: as after a start, but without any account. */
export type DataDirState = 'empty' | 'migrated'

const templates = process.env['MINIMART_TEST_DATA_DIRS']

/** @returns whether there was one to copy */
export async function fillDataDir(dataDir: string, state: DataDirState = 'migrated'): Promise<boolean> {
  if (templates === undefined) return false
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  await copy(join(templates, state, 'database'), dataDir)
  return true
}

/**
 * @param executable which has a prepared database and so needs a tenth of the time that the sources take
 * @returns the folder that holds them, to be set as MINIMART_TEST_DATA_DIRS
 */
export async function makeDataDirs(folder: string, executable: string): Promise<string> {
  const migrate = (state: DataDirState, ...args: string[]) =>
    run([executable, 'migrate', ...args], { DATA_DIR: join(folder, state) })
  await migrate('empty', 'down')
  await copy(join(folder, 'empty'), join(folder, 'migrated'))
  await migrate('migrated', 'up')
  return folder
}

const copy = (from: string, to: string): Promise<void> => run(['cp', '--archive', from, to], {})

async function run(command: string[], environment: Record<string, string>): Promise<void> {
  const { PATH = '', TMPDIR = '/tmp' } = process.env
  const child = Bun.spawn(command, { env: { PATH, TMPDIR, ...environment }, stdout: 'pipe', stderr: 'pipe' })
  const [code, out, err] = await Promise.all([child.exited, child.stdout.text(), child.stderr.text()])
  if (code !== 0) throw new Error(`${command.join(' ')} failed with ${code}:\n${out}${err}`)
}
