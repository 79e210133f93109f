/** A power cut loses nothing acknowledged: fsync returns before the response is sent. */
import { expect, test } from 'bun:test'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { addItem, asPerson, makeList, makeTenant } from '../../support/people.ts'
import { asServer, describeExecutable, environmentFor } from '../../support/program.ts'
import { startInbox } from '../../support/smtp.ts'

const strace = Bun.which('strace')
const traced = ['strace', '-D', '-f', '--seccomp-bpf', '-e']
const commits = 50

describeExecutable('acknowledged writes', (program) => {
  test.skipIf(strace === null)(
    'sent one after the other, each has its own fsync',
    async () => {
      const [folder, inbox] = [await program.folder(), await startInbox()]
      const environment = environmentFor(inbox, await program.dataDir('migrated'))
      const trace = join(folder, 'trace')
      const running = await (
        await program.start([], {
          cwd: folder,
          env: environment,
          under: [...traced, 'trace=fsync,fdatasync', '-o', trace],
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

  test.skipIf(strace === null)(
    'a failed fsync ends the program immediately, and the next start has everything acknowledged',
    async () => {
      const inbox = await startInbox()
      const environment = environmentFor(inbox, await program.dataDir('migrated'))
      const start = async (under: string[] = []) =>
        (await program.start([], { env: environment, under })).ready()
      const fail = `inject=fdatasync:error=EIO:when=${commits}`
      const running = await start([...traced, 'trace=fdatasync', '-e', fail, '-o', '/dev/null'])
      const { admin } = await makeTenant(asServer(running, { backend: 'embedded', inbox, environment }))
      const list = await makeList(admin)
      const acknowledged: string[] = []
      for (let count = 0; count < 2 * commits; count++) {
        const added = await addItem(admin, list.id).catch(() => null)
        if (added === null) break
        acknowledged.push(added.id)
      }
      expect(await running.exited).toBe(1)
      expect(running.errors()).toMatch(
        /^The embedded database has stopped: could not fsync .+I\/O error\. .+\n$/,
      )

      const again = await start()
      const { api } = await asPerson(
        asServer(again, { backend: 'embedded', inbox, environment }),
        admin.email,
        admin.password,
      )
      const { items } = (await api.get(`/shopping-lists/${list.id}`)).body
      expect(acknowledged.length).toBeGreaterThan(5)
      expect(items.map(({ id }: { id: string }) => id)).toEqual(expect.arrayContaining(acknowledged))
      again.signal('SIGTERM')
      expect(await again.exited).toBe(0)
      await inbox.stop()
    },
    60_000,
  )
})
