/** `minimart demo` prints commands that work when pasted into a shell. */
import { expect, test } from 'bun:test'
import { readdir } from 'node:fs/promises'
import { describeExecutable, type Program, type Running } from '../support/program.ts'
import { until } from '../support/until.ts'

async function startDemo(program: Program, cwd: string): Promise<Running & { shown: string }> {
  const running = await (await program.start(['demo'], { cwd, env: { PORT: '0' } })).ready()
  await until(() => running.output().includes('purchased'), 'the last call')
  return { ...running, shown: running.output() }
}

describeExecutable('demo', (program) => {
  test('prints logins and calls that work when pasted, also after a restart', async () => {
    const cwd = await program.folder()
    for (const round of [1, 2]) {
      const demo = await startDemo(program, cwd)
      const [, password] = /with the password (\S+)/.exec(demo.shown) ?? []
      for (const email of ['alex@demo.example', 'sam@demo.example']) {
        const answer = await fetch(`${demo.url}/api/v1/auth/login`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ email, password }),
        })
        expect(answer.status).toBe(200)
      }
      const calls = demo.shown.slice(demo.shown.indexOf('TOKEN='))
      const script = calls.replaceAll(/^curl -s /gm, "curl -s -w '\\nSTATUS %{http_code}\\n' ")
      const shell = await Bun.$`bash -eu -c ${script}`.text()
      expect([...shell.matchAll(/^STATUS (\d+)$/gm)].map(([, status]) => status)).toEqual([
        '200',
        '200',
        '201',
        '200',
      ])
      expect(shell).toContain('Weekly shop')
      expect(shell).toContain('Bananas')
      expect(shell).toContain('"purchased"')
      expect(await readdir(cwd)).toEqual(['minimart-demo'])
      demo.signal(round === 1 ? 'SIGTERM' : 'SIGINT')
      expect(await demo.exited).toBe(0)
    }
  })
})
