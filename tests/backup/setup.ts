/** What the tests of backup and restore share: the compiled program, and data folders to look into. */
import { expect } from 'bun:test'
import { createHash } from 'node:crypto'
import { chown, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Outcome, Program, Running } from '../support/program.ts'

export const asRoot = process.getuid?.() === 0
const nobody = 65_534

/** What a test makes as root belongs to the program's user, as if that had made it. */
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

/** The one line of JSON that `--json` asks for. */
export function resultOf({ code, stdout, stderr }: Outcome): Record<string, unknown> {
  expect([code, code === 0 ? '' : stderr]).toEqual([0, ''])
  const lines = stdout.trim().split('\n')
  expect(lines).toHaveLength(1)
  return JSON.parse(lines[0] ?? '')
}

/** A sentence for people, and nothing on standard output. */
export function expectRefused({ code, stdout, stderr }: Outcome, says: string | RegExp, expected = 1): void {
  expect([code, stdout]).toEqual([expected, ''])
  expect(stderr).toMatch(says)
  expect(stderr).not.toMatch(/^ +at /m)
}

/** Every file below a folder with a hash of what is in it; null where there is no folder. */
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
