/** Shared by the tests of backup and restore: the executable, and data folders to inspect. */
import { expect } from 'bun:test'
import { createHash } from 'node:crypto'
import { chown, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Outcome, Program, Running } from '../support/program.ts'

export const asRoot = process.getuid?.() === 0
const nobody = 65_534

/** Gives what a test creates as root to the user that runs the program. */
export async function giveToProgram(path: string): Promise<void> {
  if (asRoot) await chown(path, nobody, nobody)
}

export async function serve(program: Program, env: Record<string, string>): Promise<Running> {
  return (await program.start(['serve'], { env })).ready()
}

export async function stop(running: Running): Promise<void> {
  running.signal('SIGTERM')
  expect(await running.exited).toBe(0)
}

/** The single line of JSON that `--json` prints. */
export function resultOf({ code, stdout, stderr }: Outcome): Record<string, unknown> {
  expect([code, code === 0 ? '' : stderr]).toEqual([0, ''])
  const lines = stdout.trim().split('\n')
  expect(lines).toHaveLength(1)
  return JSON.parse(lines[0] ?? '')
}

/** Expects a message for people on standard error, and nothing on standard output. */
export function expectRefused({ code, stdout, stderr }: Outcome, says: string | RegExp, expected = 1): void {
  expect([code, stdout]).toEqual([expected, ''])
  expect(stderr).toMatch(says)
  expect(stderr).not.toMatch(/^ +at /m)
}

/** A hash of every file below a folder, by path; null where there is no folder. */
export async function fingerprint(folder: string): Promise<Record<string, string> | null> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => null)
  if (entries === null) return null
  const hashed = entries.map(async (entry): Promise<[string, string]> => {
    const path = join(entry.parentPath, entry.name)
    const content = entry.isFile() ? await readFile(path) : ''
    return [path.slice(folder.length + 1), createHash('sha256').update(content).digest('hex')]
  })
  return Object.fromEntries((await Promise.all(hashed)).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
