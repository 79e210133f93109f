/** What `check` and `migrate status` report, without changing anything. */
import { expect, test } from 'bun:test'
import { existsSync, readdirSync } from 'node:fs'
import postgres from 'postgres'
import { migrateAsBefore } from '../support/older-release.ts'
import { describePostgres, testPostgres } from '../support/postgres.ts'
import { describeExecutable } from '../support/program.ts'
import { describePrivateRedis, startRedis } from '../support/redis.ts'

const secret = 'tests only: long enough to sign with, 0123456789'

interface Line {
  check: string
  ok: boolean | null
  detail: string
  remedy?: string
}

describeExecutable('checking', (program) => {
  const check = async (env: Record<string, string>, name: string): Promise<Line | undefined> => {
    const { stdout } = await program.run(['check', '--json'], { env })
    const lines: Line[] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    return lines.find((line) => line.check === name)
  }

  test('creates no embedded database, and leaves DATA_DIR as it was', async () => {
    for (const DATA_DIR of [await program.dataDir(), await program.folder()]) {
      const env = { DATA_DIR, LOG_LEVEL: 'error' }
      const isThere = existsSync(DATA_DIR)
      expect(await check(env, 'database')).toMatchObject({
        ok: true,
        detail: expect.stringContaining('none yet'),
      })
      expect(await check(env, 'migrations')).toMatchObject({
        ok: true,
        detail: expect.stringContaining('pending'),
      })
      const status = await program.run(['migrate', 'status', '--json'], { env })
      expect(JSON.parse(status.stdout)).toMatchObject({ current: false })
      expect(status.code).toBe(0)
      expect(existsSync(DATA_DIR)).toBe(isThere)
      if (isThere) expect(readdirSync(DATA_DIR)).toEqual([])
    }
  })

  describePostgres('with PostgreSQL', () => {
    const freshDatabase = async () => (await testPostgres()).createDatabase()

    test('reports a user who may not create tables before serve does', async () => {
      const { url } = await freshDatabase()
      const admin = postgres(url, { max: 1, onnotice: () => undefined })
      const name = `landless_${crypto.randomUUID().slice(0, 8)}`
      const own = new URL(url)
      own.username = name
      try {
        await admin.unsafe(`create role ${name} login`)
        const env = { DATABASE_URL: own.href, JWT_SECRET_KEY: secret }
        expect(await check(env, 'migrations')).toMatchObject({
          ok: false,
          detail: expect.stringContaining('may not create tables'),
          remedy: expect.not.stringContaining('migrate up'),
        })
        own.pathname = '/nowhere'
        expect(await check({ ...env, DATABASE_URL: own.href }, 'database')).toMatchObject({
          ok: false,
          detail: expect.stringContaining('refuses the sign-in'),
          remedy: expect.not.stringContaining('server runs'),
        })
      } finally {
        await admin.unsafe(`drop role ${name}`)
        await admin.end({ timeout: 2 })
      }
    })

    test('advises on what other users of the server can reach, and finishes an upgrade when told to', async () => {
      const { url } = await freshDatabase()
      const name = new URL(url).pathname.slice(1)
      const env = { DATABASE_URL: url, JWT_SECRET_KEY: secret }
      expect(await check(env, 'neighbours')).toMatchObject({ ok: true })
      await migrateAsBefore(url)
      const early = await program.run(['migrate', 'finish'], { env })
      expect([early.code, early.stderr]).toEqual([1, expect.stringContaining('minimart migrate up')])
      expect((await program.run(['migrate', 'up'], { env })).code).toBe(0)

      const admin = postgres(url, { max: 1, onnotice: () => undefined })
      const [found] =
        await admin`select 'minimart_app_' || oid as role from pg_database where datname = ${name}`
      const role = found?.['role']
      const other = `colleague_${crypto.randomUUID().slice(0, 8)}`
      await admin.unsafe(`create role ${other} login; grant ${role} to ${other}`)
      const advice = await check(env, 'neighbours')
      for (const part of [
        'minimart_app, which earlier releases share',
        `${other} is a member of ${role}`,
        'every user',
      ])
        expect(advice?.detail).toContain(part)
      const closing = /GRANT CONNECT ON .+$/.exec(advice?.remedy ?? '')?.[0] ?? ''
      expect(advice).toMatchObject({ ok: null })
      for (const part of [
        'minimart migrate finish',
        `REVOKE ${role} FROM ${other};`,
        `REVOKE CONNECT ON DATABASE ${name}`,
      ])
        expect(advice?.remedy).toContain(part)

      await admin.unsafe(`drop role ${other}; ${closing}`)
      const finished = await program.run(['migrate', 'finish', '--json'], { env })
      expect(JSON.parse(finished.stdout)).toEqual({ direction: 'finish', revoked: true })
      expect((await program.run(['migrate', 'finish'], { env })).stdout).toBe('Nothing to do.\n')
      expect(await check(env, 'neighbours')).toMatchObject({ ok: true })
      await admin.end({ timeout: 2 })
    })

    test('lists the migrations of a database that is newer or has edited ones, and marks them', async () => {
      const { url } = await freshDatabase()
      const env = { DATABASE_URL: url, JWT_SECRET_KEY: secret }
      expect((await program.run(['migrate', 'up'], { env })).code).toBe(0)
      const admin = postgres(url, { max: 1 })
      await admin`insert into schema_migrations (version, name, checksum) values (99, '0099_future', 'x')`
      await admin`update schema_migrations set checksum = 'other' where version = 1`
      await admin.end({ timeout: 2 })
      const json = await program.run(['migrate', 'status', '--json'], { env })
      expect(json.code).toBe(1)
      const { current, migrations } = JSON.parse(json.stdout)
      expect(current).toBe(false)
      expect(migrations.map(({ state }: { state: string }) => state).slice(0, 2)).toEqual([
        'applied',
        'changed',
      ])
      expect(migrations.at(-1)).toEqual({
        version: 99,
        name: '0099_future',
        state: 'unknown',
        applied_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      })
      const words = await program.run(['migrate', 'status'], { env })
      expect(words.code).toBe(1)
      expect(words.stdout).toMatch(/0099_future .+unknown to this program/)
      expect(await check(env, 'migrations')).toMatchObject({
        ok: false,
        remedy: expect.not.stringContaining('Apply'),
      })
    })
  })

  describePrivateRedis('with a Redis that refuses', () => {
    test('says why in the line itself, and never prints the password', async () => {
      const redis = await startRedis()
      const { host } = new URL(redis.url)
      const { RedisClient } = Bun
      const client = new RedisClient(redis.url)
      // Each waits for its timeout, so they run together.
      const refused = async (url: string): Promise<Line | undefined> =>
        check({ REDIS_URL: url, DATA_DIR: await program.dataDir() }, 'redis')
      const [outOfRange, notTls] = await Promise.all([
        refused(`redis://${host}/9999`),
        refused(`rediss://${host}`),
      ])
      expect(outOfRange?.detail).toContain('out of range')
      for (const line of [outOfRange, notTls]) {
        expect(line?.ok).toBe(false)
        expect(line?.detail).not.toMatch(/at the moment|did not answer/)
      }
      await client.send('CONFIG', ['SET', 'requirepass', 'sesame-open'])
      client.close()
      const signIns = [
        [':sesame-closed@', 'WRONGPASS'],
        ['', 'NOAUTH'],
      ] as const
      await Promise.all(
        signIns.map(async ([user, reason]) => {
          const url = `redis://${user}${host}`
          const env = { REDIS_URL: url, DATA_DIR: await program.dataDir() }
          const [line, shown] = await Promise.all([
            refused(url),
            program.run(['check'], { env, terminal: true }),
          ])
          expect(line).toMatchObject({
            ok: false,
            detail: expect.stringContaining(reason),
            remedy: expect.stringContaining('password'),
          })
          expect(shown.stdout).not.toMatch(/ {2,}at |sesame|Redis is unavailable/)
        }),
      )
      await redis.end()
    })
  })
})
