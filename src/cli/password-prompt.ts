import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { OperatorError } from '../errors.ts'

/** Reads a password from a prompt without echo, or from the first line of standard input if that is no terminal. */
export async function readPassword(prompt: string): Promise<string> {
  if (!process.stdin.isTTY) return ((await Bun.stdin.text()).split('\n')[0] ?? '').replace(/\r$/, '')
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: process.stdin, output: silent, terminal: true })
  // Only now: until the interface has switched the echo off, the terminal shows what is typed.
  process.stderr.write(prompt)
  try {
    return await new Promise<string>((resolve, reject) => {
      lines.on('close', () => reject(new OperatorError('No password was given, so no account was created.')))
      lines.question('', resolve)
    })
  } finally {
    lines.close()
    process.stderr.write('\n')
  }
}
