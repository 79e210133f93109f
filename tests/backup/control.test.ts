/** What a running server does for `minimart backup` and `export`, asked as these ask it. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { controlSocket } from '../../src/backup/control-address.ts'
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

  interface Line {
    ask(request: object): Promise<Record<string, unknown>>
    socket: Socket
  }
  async function line(): Promise<Line> {
    const socket = connect(controlSocket(dataDir))
    const replies: string[] = []
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => replies.push(text))
    return {
      socket,
      async ask(request) {
        socket.write(`${JSON.stringify(request)}\n`)
        return JSON.parse(await until(() => replies.shift(), 'a reply'))
      },
    }
  }
  const copyIsThere = async () => (await readdir(dataDir)).includes('backup-copy')
  const close = async ({ socket }: Line): Promise<void> => {
    socket.destroy()
    await until(async () => !(await copyIsThere()), 'no copy')
  }

  test('an export of a copy is recorded once, with the platform and with the tenant', async () => {
    const entry = { request: 'record', tenantId: tenant.id, credentials: true, rows: 7 }
    const exporting = await line()
    expect(await exporting.ask({ request: 'export' })).toHaveProperty('copied.migrations')
    expect(await exporting.ask(entry)).toEqual({ recorded: true })
    expect(await exporting.ask(entry)).toEqual({ refused: expect.stringContaining('does not know') })
    await close(exporting)
    const root = await superAdmin(server)
    for (const { api } of [tenant.admin, root]) {
      const { body } = await api.get(`/audit?action=tenant.exported&target_id=${tenant.id}`)
      expect(body.data.map(({ details }: { details: unknown }) => details)).toEqual([
        { credentials: true, rows: 7 },
      ])
    }
  })

  test('nothing is recorded for a backup, for nobody, or in other words', async () => {
    const entry = { request: 'record', tenantId: tenant.id, credentials: true, rows: 7 }
    const backup = await line()
    expect(await backup.ask({ request: 'backup' })).toHaveProperty('copied')
    expect(await backup.ask(entry)).toEqual({ refused: expect.stringContaining('does not know') })
    await close(backup)
    for (const request of [entry, { request: 'secrets' }, { ...entry, tenantId: 7 }]) {
      const other = await line()
      expect(await other.ask(request)).toEqual({ refused: expect.stringContaining('does not know') })
    }
    const stranger = await line()
    await stranger.ask({ request: 'export' })
    expect(await stranger.ask({ ...entry, tenantId: Bun.randomUUIDv7() })).toEqual({
      refused: expect.stringContaining('could not record the export'),
    })
    await close(stranger)
  })

  test.skipIf(!asRoot)('a copy that cannot be removed is no reason to refuse backups for ever', async () => {
    const first = await line()
    expect(await first.ask({ request: 'backup' })).toHaveProperty('copied')
    const foreign = join(dataDir, 'backup-copy', 'foreign')
    await mkdir(foreign)
    await writeFile(join(foreign, 'file'), "not the server's to remove")
    first.socket.destroy()
    await until(() => running.output().includes('A copy for a backup or export failed'), 'the failure')
    const second = await line()
    expect(await second.ask({ request: 'backup' })).toEqual({
      refused: expect.stringContaining('The server could not copy its data'),
    })
    second.socket.destroy()
    await rm(foreign, { recursive: true })
    const third = await until(async () => {
      const next = await line()
      return 'copied' in (await next.ask({ request: 'backup' })) ? next : null
    }, 'a copy')
    await close(third)
  })
})
