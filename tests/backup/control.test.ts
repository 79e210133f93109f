/** What a running server does for `minimart backup` and `export`, over the same client they use. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { chmod, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describeBackup } from '../../src/backup/backup-writer.ts'
import { type CopyLease, requestCopy } from '../../src/backup/control-client.ts'
import {
  type CopyFor,
  controlFolder,
  controlSocket,
  copiesPath,
  exportsPath,
} from '../../src/backup/control-protocol.ts'
import { onFolderOrCopy, withQuiescedFolder } from '../../src/backup/source.ts'
import { DataDirTaken } from '../../src/data-dir/lock.ts'
import { recordingLogger } from '../support/log.ts'
import { makeTenant, superAdmin, type Tenant } from '../support/people.ts'
import { asServer, describeExecutable, environmentFor, type Running } from '../support/program.ts'
import type { TestServer } from '../support/server.ts'
import { type Inbox, startInbox } from '../support/smtp.ts'
import { until } from '../support/until.ts'
import { asRoot, serve } from './setup.ts'

describeExecutable('the control socket', (program) => {
  let inbox: Inbox
  let dataDir: string
  let running: Running
  let server: TestServer
  let tenant: Tenant
  beforeAll(async () => {
    inbox = await startInbox()
    dataDir = await program.dataDir('migrated')
    const environment = environmentFor(inbox, dataDir)
    running = await serve(program, environment)
    server = asServer(running, { backend: 'embedded', inbox, environment })
    tenant = await makeTenant(server)
  }, 60_000)
  afterAll(() => inbox.stop())

  const copyIsThere = async () => (await readdir(dataDir)).includes('backup-copy')
  const request = async (copyFor: CopyFor): Promise<CopyLease> => {
    const lease = await requestCopy(dataDir, copyFor, () => undefined)
    if (lease === null) throw new Error('no server is running')
    return lease
  }
  const release = async (lease: CopyLease): Promise<void> => {
    lease.release()
    await until(async () => !(await copyIsThere()), 'no copy')
  }
  const post = (path: string, body: unknown) =>
    fetch(`http://localhost${path}`, {
      unix: controlSocket(dataDir),
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })

  test('is accessible to its owner only', async () => {
    expect((await stat(controlFolder(dataDir))).mode & 0o777).toBe(0o700)
    expect((await stat(controlSocket(dataDir))).mode & 0o777).toBe(0o600)
  })

  test('an export of a copy is recorded once, for the platform and for the tenant', async () => {
    const entry = { tenantId: tenant.id, credentials: true, rows: 7 }
    const lease = await request('export')
    await lease.record(entry)
    await expect(lease.record(entry)).rejects.toThrow('does not know')
    expect(await lease.isHeld()).toBe(true)
    await release(lease)
    await until(async () => !(await lease.isHeld()), 'the end of the lease')
    const root = await superAdmin(server)
    for (const { api } of [tenant.admin, root]) {
      const { body } = await api.get(`/audit?action=tenant.exported&target_id=${tenant.id}`)
      expect(body.data.map(({ details }: { details: unknown }) => details)).toEqual([
        { credentials: true, rows: 7 },
      ])
    }
  })

  test('a backup, an unknown tenant and a malformed request record nothing', async () => {
    const entry = { tenantId: tenant.id, credentials: true, rows: 7 }
    const backup = await request('backup')
    await expect(backup.record(entry)).rejects.toThrow('does not know')
    await release(backup)
    const unknown: [path: string, body: unknown][] = [
      [exportsPath, { copy: crypto.randomUUID(), ...entry }],
      [exportsPath, { copy: '', ...entry, tenantId: 7 }],
      [copiesPath, { for: 'secrets' }],
      [copiesPath, 'backup'],
      ['/v2/copies', { for: 'backup' }],
    ]
    for (const [path, body] of unknown) {
      const answer = await post(path, body)
      expect([path, answer.status, await answer.json()]).toEqual([
        path,
        404,
        { refused: expect.stringContaining('does not know') },
      ])
    }
    expect((await post(copiesPath, { for: 'backup', more: 'x'.repeat(2000) })).status).toBe(413)
    expect(await copyIsThere()).toBe(false)
    const stranger = await request('export')
    await expect(stranger.record({ ...entry, tenantId: Bun.randomUUIDv7() })).rejects.toThrow(
      'could not record the export',
    )
    await release(stranger)
  })

  test('a copy requested while the last one is removed waits for that', async () => {
    const first = await request('backup')
    const many = join(dataDir, 'backup-copy', 'many')
    await mkdir(many)
    await chmod(many, 0o777)
    const names = Array.from({ length: 10_000 }, (_, n) => String(n))
    for (const name of names) writeFileSync(join(many, name), '')
    first.release()
    const left = () =>
      readdir(many).then(
        (files) => files.length,
        () => 0,
      )
    await until(async () => (await left()) < names.length, 'the removal')
    await release(await request('backup'))
  }, 30_000)

  test.skipIf(!asRoot)('a copy that cannot be removed does not block backups for ever', async () => {
    const first = await request('backup')
    const foreign = join(dataDir, 'backup-copy', 'foreign')
    await mkdir(foreign)
    await writeFile(join(foreign, 'file'), "not the server's to remove")
    first.release()
    await until(() => running.output().includes('could not be removed'), 'the failure')
    await expect(request('backup')).rejects.toThrow('The server could not copy its data')
    await rm(foreign, { recursive: true })
    await release(await until(() => request('backup').catch(() => null), 'a copy'))
  })

  test('a server of another release is recognized', async () => {
    const folder = await program.folder()
    await mkdir(controlFolder(folder))
    const other = createServer((socket) => socket.on('data', () => socket.end('{"refused":"what?"}\n')))
    await new Promise<void>((resolve) => other.listen(controlSocket(folder), resolve))
    await expect(requestCopy(folder, 'backup', () => undefined)).rejects.toThrow('another release')
    other.close()
  })

  test('a server that stops is reported as such, not as a missing file', async () => {
    const held = () => Promise.reject(new DataDirTaken('held'))
    const missed = onFolderOrCopy(
      { dataDir, copyFor: 'backup', onServer: () => undefined },
      held,
      async (folder) => {
        running.signal('SIGTERM')
        const file = join(folder, 'database/PG_VERSION')
        // Blocks the event loop, so that the file goes missing before the end of the lease is noticed.
        for (const start = performance.now(); existsSync(file) && performance.now() - start < 15_000; )
          Bun.sleepSync(1)
        return readFileSync(file)
      },
    )
    await expect(missed).rejects.toThrow('The server stopped meanwhile. Try again.')
    expect(await running.exited).toBe(0)
    expect(await readdir(controlFolder(dataDir))).toEqual([])
  })

  test.skipIf(!asRoot)('a copy that is being removed is not backed up as if it were whole', async () => {
    const folder = await program.dataDir('migrated')
    const stopping = await serve(program, { DATA_DIR: folder, PORT: '0' })
    const copied = join(folder, 'backup-copy/database')
    const describing = withQuiescedFolder(
      { dataDir: folder, log: recordingLogger(), onServer: () => undefined },
      async (source) => {
        // Not the server's to remove, so that it stops half-way; the rest of its work is done for it.
        await mkdir(join(copied, 'foreign'))
        await writeFile(join(copied, 'foreign/file'), '')
        stopping.signal('SIGTERM')
        await stopping.exited
        await rm(join(folder, 'backup-copy/jwt-secret-key'), { force: true })
        for (const name of await readdir(copied))
          if (name !== 'foreign') await rm(join(copied, name), { recursive: true })
        const progress = { begin: () => undefined, advance: () => undefined, signal: source.signal }
        return await describeBackup(source, progress)
      },
    )
    await expect(describing).rejects.toThrow('The server stopped meanwhile. Try again.')
    expect(await readdir(copied)).toEqual(['foreign'])
  })
})
