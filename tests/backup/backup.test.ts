/** A backup is the database at one moment, and a server restored from it continues from there. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createClient } from '../support/client.ts'
import {
  addItem,
  join as joinList,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  type Tenant,
} from '../support/people.ts'
import { asServer, describeExecutable, environmentFor, type Running } from '../support/program.ts'
import { type Inbox, startInbox } from '../support/smtp.ts'
import { until } from '../support/until.ts'
import { resultOf, serve, stop } from './setup.ts'

const writers = 4

describeExecutable('backup and restore', (program) => {
  let inbox: Inbox
  let folder: string
  let env: Record<string, string>
  let source: Running
  let tenant: Tenant
  let owner: Person
  let lists: string[]

  beforeAll(async () => {
    const [started, dataDir] = await Promise.all([startInbox(), program.dataDir('migrated')])
    ;[inbox, folder] = [started, dirname(dataDir)]
    env = environmentFor(inbox, dataDir)
    source = await serve(program, env)
    const server = asServer(source, { backend: 'embedded', inbox, environment: env })
    tenant = await makeTenant(server)
    owner = await makeUser(server, tenant)
    const guest = await makeUser(server, tenant)
    lists = await Promise.all(['A', 'B', 'C'].map(async (name) => (await makeList(owner, name)).id))
    for (const list of lists) {
      await joinList(owner, list, guest, 'viewer')
      const { id } = await addItem(owner, list, { name: 'Milch', quantity: 2.5, unit: 'l', note: 'für Ann' })
      await owner.api.patch(`/items/${id}`, { status: 'purchased' })
    }
  }, 60_000)
  afterAll(() => inbox.stop())

  const backup = (file: string, ...more: string[]) =>
    program.run(['backup', join(folder, file), '--json', ...more], { env })
  /** Restores into a data folder of its own and starts a server on it. */
  const restored = async (file: string): Promise<{ server: Running; result: Record<string, unknown> }> => {
    const elsewhere = { ...env, DATA_DIR: join(folder, `from-${file}`) }
    const result = resultOf(await program.run(['restore', join(folder, file), '--json'], { env: elsewhere }))
    return { result, server: await serve(program, elsewhere) }
  }
  const eventsOf = async (url: string, list: string) => {
    const events: { seq: number; payload: { item?: { id: string } } }[] = []
    for (;;) {
      const path = `/shopping-lists/${list}/events?since=${events.at(-1)?.seq ?? 0}&limit=100`
      const { body } = await createClient(url, owner.accessToken).get(path)
      events.push(...body.data)
      if (body.complete || body.data.length === 0) return events
    }
  }

  test('under steady writes: everything acknowledged before it began is in it, and the next write continues', async () => {
    const acknowledged: string[] = []
    let over = false
    const writing = Array.from({ length: writers }, async (_, index) => {
      while (!over) {
        const id = Bun.randomUUIDv7()
        await addItem(owner, lists[index % lists.length] ?? '', { id, name: `Item ${id}` })
        acknowledged.push(id)
      }
    })
    await until(() => acknowledged.length > 50, 'some writes')
    const before = [...acknowledged]
    const result = resultOf(await backup('busy.tar.gz'))
    const after = acknowledged.length
    over = true
    await Promise.all(writing)
    expect(result).toMatchObject({ file: join(folder, 'busy.tar.gz'), signing_key: true })
    expect(result['paused_ms']).toBeNumber()
    // The server kept serving meanwhile.
    expect(after).toBeGreaterThan(before.length)

    const { server } = await restored('busy.tar.gz')
    const anna = createClient(server.url, owner.accessToken)
    const found: string[] = []
    for (const list of lists) {
      const { body } = await anna.get(`/shopping-lists/${list}`)
      const ids: string[] = body.items.map((item: { id: string }) => item.id)
      found.push(...ids)
      const events = await eventsOf(server.url, list)
      expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1))
      expect(events.length).toBe(body.seq)
      expect(new Set(events.map(({ payload }) => payload.item?.id).filter(Boolean))).toEqual(new Set(ids))
      expect((await anna.post(`/shopping-lists/${list}/items`, { name: 'Next' })).status).toBe(201)
      expect((await anna.get(`/shopping-lists/${list}`)).body.seq).toBe(body.seq + 1)
    }
    expect(
      before.filter((id) => !found.includes(id)),
      'lost',
    ).toEqual([])
    // Sessions survive: the signing key is in the backup, and so are they.
    const refreshed = await anna.post('/auth/refresh', { refresh_token: owner.refreshToken })
    expect(refreshed.status).toBe(200)
    await stop(server)
  }, 90_000)

  /** API responses, byte for byte. */
  const answers = async ({ url }: Running): Promise<string[]> => {
    const [member, manager] = [owner, tenant.admin].map(({ accessToken }) => createClient(url, accessToken))
    const paths = lists.flatMap((id) =>
      ['', '/members', '/events?since=0'].map((rest) => `/shopping-lists/${id}${rest}`),
    )
    const asked = ['/auth/me', '/shopping-lists', ...paths].map((path) => member?.get(path))
    const answered = await Promise.all([...asked, manager?.get('/users'), manager?.get('/audit?limit=100')])
    expect(answered.map((answer) => answer?.status)).toEqual(answered.map(() => 200))
    return answered.map((answer) => answer?.text ?? '')
  }

  test('without concurrent writes: every response is the same, byte for byte', async () => {
    const before = await answers(source)
    const result = resultOf(await backup('quiet.tar.gz'))
    expect(await answers(source)).toEqual(before)
    const { server, result: restoring } = await restored('quiet.tar.gz')
    expect(await answers(server)).toEqual(before)
    await stop(server)
    expect(restoring).toEqual({
      data_dir: join(folder, 'from-quiet.tar.gz'),
      created_at: result['created_at'],
      minimart: expect.any(String),
      migration: result['migration'],
      files: result['files'],
      data_bytes: result['data_bytes'],
      signing_key: true,
      replaced: null,
    })

    // Only the owner can read it, and plain tar can list it.
    const { mode, size } = await stat(join(folder, 'quiet.tar.gz'))
    expect([mode & 0o777, size]).toEqual([0o600, Number(result['bytes'])])
    const listed = Bun.spawnSync(['tar', '-tzf', join(folder, 'quiet.tar.gz')])
    expect(listed.stdout.toString()).toStartWith('manifest.json\ndatabase/\n')
    expect(listed.stdout.toString()).not.toContain('postmaster.pid')
    // The copy has been removed, and no unfinished file is left.
    await until(async () => !(await readdir(env['DATA_DIR'] ?? '')).includes('backup-copy'), 'a tidy folder')
    expect((await readdir(folder)).filter((name) => name.includes('.part'))).toEqual([])
  }, 60_000)

  test('to standard output; and of a killed server, from its data folder', async () => {
    const before = await answers(source)
    source.signal('SIGKILL')
    await source.exited
    const quoted = (await program.command(['backup', '-', '--json'])).map((part) => `'${part}'`).join(' ')
    const piped = Bun.spawnSync(['sh', '-c', `${quoted} > '${join(folder, 'dead.tar.gz')}'`], {
      env: { PATH: process.env['PATH'], TMPDIR: folder, ...env },
    })
    // Standard output is the archive alone; messages go to standard error.
    expect(piped.exitCode).toBe(0)
    expect(JSON.parse(piped.stderr.toString().trim().split('\n').at(-1) ?? '')).toMatchObject({
      file: null,
      paused_ms: null,
    })
    const { server } = await restored('dead.tar.gz')
    expect(await answers(server)).toEqual(before)
    await stop(server)
  }, 60_000)
})
