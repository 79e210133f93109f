/** A power cut loses nothing that was acknowledged: the kernel was asked to write before the answer was sent. */
import { afterAll, expect, test } from 'bun:test'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { addItem, makeList, makeTenant } from '../support/people.ts'
import { asServer, describePrograms, environmentFor } from '../support/program.ts'
import { startInbox } from '../support/smtp.ts'

const strace = Bun.which('strace')
const commits = 50

describePrograms('acknowledged writes', (program) => {
  afterAll(program.clean)

  test.skipIf(strace === null)(
    'one after the other, each has an fsync of its own',
    async () => {
      const [folder, inbox] = [await program.folder(), await startInbox()]
      const environment = environmentFor(inbox, await program.dataDir('migrated'))
      const trace = join(folder, 'trace')
      const running = await (
        await program.start([], {
          cwd: folder,
          env: environment,
          under: ['strace', '-D', '-f', '--seccomp-bpf', '-e', 'trace=fsync,fdatasync', '-o', trace],
        })
      ).ready()
      const synced = async (): Promise<number> =>
        ((await readFile(trace, 'utf8')).match(/f(data)?sync\(\d+\) += 0|resumed>\) += 0/g) ?? []).length
      const { admin } = await makeTenant(asServer(running, { backend: 'embedded', inbox, environment }))
      const list = await makeList(admin)
      for (let count = 0; count < commits; count++) {
        const before = await synced()
        await addItem(admin, list.id)
        expect(await synced()).toBeGreaterThan(before)
      }
      running.signal('SIGTERM')
      expect(await running.exited).toBe(0)
      await inbox.stop()
    },
    60_000,
  )
})
