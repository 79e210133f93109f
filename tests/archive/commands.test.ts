/** `minimart export` and `minimart import` as an operator runs them, in the shipped executable. */
import { expect, test } from 'bun:test'
import { readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { tableNames } from '../../src/archive/format.ts'
import { content, emptyArchive } from '../support/archive.ts'
import { addItem, asPerson, goodPassword, makeList, makeTenant, superAdmin } from '../support/people.ts'
import { testPostgres } from '../support/postgres.ts'
import { asServer, describeExecutable, environmentFor } from '../support/program.ts'
import { testRedis } from '../support/redis.ts'
import { describeFull } from '../support/server.ts'
import { startInbox } from '../support/smtp.ts'
import { until } from '../support/until.ts'

const secret = 'tests only: long enough to sign with, 0123456789'

/** A stack trace, which an operator must never see. */
const stack = /^ +at /m

describeExecutable('archives', (program) => {
  describeFull('growing', () => {
    test('a tenant moves from an embedded installation into a running PostgreSQL one and on, losing nothing', async () => {
      const [inbox, cwd] = await Promise.all([startInbox(), program.folder()])
      const small = environmentFor(inbox, join(cwd, 'small'))
      const first = await (await program.start([], { env: small })).ready()
      const before = asServer(first, { backend: 'embedded', inbox, environment: small })
      const { admin, id } = await makeTenant(before, 'Corner house')
      const list = await makeList(admin)
      await addItem(admin, list.id, { name: 'Milk 🥛', note: 'two\nlines', quantity: 1.125 })
      const shown = (await admin.api.get(`/shopping-lists/${list.id}`)).text

      const served = await program.run(['export', '--tenant', id, '--with-credentials'], { cwd, env: small })
      expect([served.code, served.stderr]).toEqual([0, expect.stringContaining('Asking the running server')])
      expect((await admin.api.get(`/shopping-lists/${list.id}`)).text).toBe(shown)
      await until(async () => !(await readdir(join(cwd, 'small'))).includes('backup-copy'), 'no copy')
      await writeFile(join(cwd, 'served.jsonl'), served.stdout)
      // The export reads a copy, but is recorded in the running server's audit log.
      const recorded = await admin.api.get('/audit?action=tenant.exported')
      const details = { credentials: true, rows: served.stdout.split('\n').length - 3 }
      expect(recorded.body.data).toEqual([expect.objectContaining({ target_id: id, details })])
      const root = await superAdmin(before)
      expect((await root.api.get(`/audit?action=tenant.exported&target_id=${id}`)).body.data).toHaveLength(1)
      const held = await program.run(['import', 'served.jsonl'], { cwd, env: small })
      expect([held.code, held.stdout]).toEqual([1, ''])
      expect(held.stderr).toContain(
        `A running MiniMart has the embedded database in ${small['DATA_DIR']} open. Stop it`,
      )
      expect(held.stderr).not.toMatch(stack)
      first.signal('SIGTERM')
      expect(await first.exited).toBe(0)

      const args = ['export', '--tenant', 'corner-house', '--with-credentials', '--json', 'house.jsonl.gz']
      const exported = await program.run(args, { cwd, env: small })
      expect(exported.code).toBe(0)
      const outcome = JSON.parse(exported.stdout)
      expect(outcome).toMatchObject({
        tenant: { id, slug: 'corner-house' },
        credentials: true,
        rows: { items: 1 },
      })
      const path = join(cwd, 'house.jsonl.gz')
      expect((await stat(path)).mode & 0o777).toBe(0o600)
      expect((await readdir(cwd)).sort()).toEqual(['house.jsonl.gz', 'served.jsonl', 'small'])
      const lines = (text: string) => text.split('\n').slice(0, -2)
      const stopped = gunzipSync(await Bun.file(path).bytes()).toString()
      // Exporting while serving equals exporting after the stop, except for the audit entry of that export itself.
      expect(lines(stopped).slice(0, -1)).toEqual(lines(served.stdout))
      const again = await program.run(args, { cwd, env: small })
      expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('exists already')])

      const [postgres, redis] = await Promise.all([testPostgres(), testRedis()])
      const [{ url }, redisUrl] = await Promise.all([postgres.createDatabase(), redis.freshDatabase()])
      const large = {
        ...environmentFor(inbox, join(cwd, 'large')),
        ...{ DATABASE_URL: url, REDIS_URL: redisUrl, JWT_SECRET_KEY: secret },
      }
      const second = await (await program.start([], { env: large })).ready()
      const dry = ['import', 'house.jsonl.gz', '--dry-run']
      const tried = await program.run(dry, { cwd, env: large })
      expect(tried).toMatchObject({ code: 0, stdout: expect.stringContaining('can be imported') })
      const doubted = await program.run([...dry, '--unverified', '--json'], { cwd, env: large })
      expect(JSON.parse(doubted.stdout)).toMatchObject({ verified: { addresses: 0, domains: [] } })
      const imported = await program.run(['import', 'house.jsonl.gz'], { cwd, env: large })
      expect(imported).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(
          /^Imported Corner house .* Verified addresses that come along: 1 \(1 at shop\.example\)\./,
        ),
      })
      const after = asServer(second, { backend: 'full', inbox, environment: large })
      const there = await asPerson(after, admin.email, goodPassword)
      expect((await there.api.get(`/shopping-lists/${list.id}`)).text).toBe(shown)
      const twice = await program.run(['import', 'house.jsonl.gz'], { cwd, env: large })
      expect([twice.code, twice.stderr]).toEqual([
        1,
        expect.stringContaining('is in this installation already'),
      ])
      second.signal('SIGTERM')
      expect(await second.exited).toBe(0)

      // Once more, over the standard streams.
      const piped = await program.run(['export', '--tenant', id, '--with-credentials'], { cwd, env: large })
      expect(piped).toMatchObject({ code: 0, stderr: expect.stringContaining('keep the archive as safe') })
      const third = { ...large, DATABASE_URL: (await postgres.createDatabase()).url }
      const back = await program.run(['import', '-', '--json'], { cwd, env: third, stdin: piped.stdout })
      expect([back.code, JSON.parse(back.stdout).tenant.id]).toEqual([0, id])
      const last = await program.run(['export', '--tenant', id, '--with-credentials', '-'], {
        cwd,
        env: third,
      })
      expect(content(last.stdout)).toBe(content(piped.stdout))
      // Her sign-in meanwhile is in the audit log.
      expect(lines(piped.stdout).slice(0, -1)).toEqual(lines(stopped))
      await inbox.stop()
    })
  })

  test('a refused import says why in one line, exits with 1 and creates nothing', async () => {
    const cwd = await program.folder()
    const whole = emptyArchive({ id: crypto.randomUUID(), slug: 'house' })
    const files = {
      'later.jsonl': whole.replace('"version":2', '"version":7'),
      'foreign.txt': 'Dear all,\nthis is a letter.\n',
      'foreign.bin': Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0xff, 0xfe, 0, 10]),
    }
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(cwd, name), bytes)
    const errors: Record<string, RegExp> = {
      'later.jsonl': /format 7; this release \(MiniMart [\d.]+\) reads formats up to 2/,
      'foreign.txt': /not a MiniMart archive/,
      'foreign.bin': /not an archive/,
      'missing.jsonl': /missing\.jsonl cannot be found or created: there is no such file/,
      '.': /is a folder; name a file/,
    }
    for (const [name, reason] of Object.entries(errors)) {
      const { code, stdout, stderr } = await program.run(['import', name], { cwd })
      expect([name, code, stdout]).toEqual([name, 1, ''])
      expect(stderr).toMatch(reason)
      expect(stderr).not.toMatch(stack)
    }
    expect((await readdir(cwd)).sort()).toEqual(Object.keys(files).sort())
  })

  describeFull('with a database', () => {
    test('a truncated archive is refused, a whole one shows progress, and a failure leaves nothing behind', async () => {
      const cwd = await program.folder()
      const { url } = await (await testPostgres()).createDatabase()
      const env = { DATABASE_URL: url, JWT_SECRET_KEY: secret }
      const id = crypto.randomUUID()
      const whole = emptyArchive({ id, slug: 'house' })
      const files = { 'cut.jsonl': whole.slice(0, -10), 'cut.jsonl.gz': gzipSync(whole).subarray(0, -20) }
      for (const [name, bytes] of Object.entries(files)) {
        await writeFile(join(cwd, name), bytes)
        const { code, stdout, stderr } = await program.run(['import', name], { cwd, env })
        expect([name, code, stdout]).toEqual([name, 1, ''])
        expect(stderr).toMatch(/cut off/)
        expect(stderr).not.toMatch(stack)
      }
      const nothing = await program.run(['export', '--tenant', id, 'out.jsonl'], { cwd, env })
      expect([nothing.code, nothing.stderr]).toEqual([
        1,
        `There is no tenant "${id}". Give its slug or its id.\n`,
      ])
      await writeFile(join(cwd, 'whole.jsonl'), whole)
      const shown = await program.run(['import', 'whole.jsonl'], { cwd, env, terminal: true })
      expect(shown.code).toBe(0)
      expect(shown.stdout).toMatch(/Importing █+ 100 %/)
      expect(shown.stdout).toContain('reset theirs with "forgot password"')
      expect((await readdir(cwd)).sort()).toEqual([...Object.keys(files), 'whole.jsonl'].sort())
    })
  })

  test('an export from a folder without a database does not create one', async () => {
    const cwd = await program.folder()
    const { code, stderr } = await program.run(['export', '--tenant', 'house', 'out.jsonl'], { cwd })
    expect([code, stderr]).toEqual([
      1,
      expect.stringContaining(`There is no embedded database in ${join(cwd, 'minimart-data')}`),
    ])
    expect(await readdir(cwd)).toEqual([])
  })

  test.each([
    [['export']],
    [['export', '--tenant']],
    [['export', '--tenant', '']],
    [['export', '--tenant', 'a', 'b', 'c']],
    [['import']],
    [['import', 'a', 'b']],
    [['import', 'a', '--slug', 'A_b']],
    [['import', 'a', '--with-credentials']],
  ])('%j is wrong usage', async (args) => {
    const { code, stdout, stderr } = await program.run(args)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(/Try: minimart help/)
  })

  test('help describes the format, every table in order', async () => {
    const { stdout } = await program.run(['help', 'export'])
    expect(stdout.replace(/\s+/g, ' ')).toContain(tableNames.join(', '))
  })
})
