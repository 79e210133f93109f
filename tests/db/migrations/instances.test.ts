/** Several instances starting together on one PostgreSQL, empty or older, and the databases they refuse. */
import { expect, test } from 'bun:test'
import postgres from 'postgres'
import { testPostgres } from '../../support/postgres.ts'
import { describeExecutable } from '../../support/program.ts'
import { testRedis } from '../../support/redis.ts'
import { describeFull } from '../../support/server.ts'

const instances = 4

describeExecutable('upgrading', (program) => {
  describeFull('with PostgreSQL and Redis', () => {
    const freshSettings = async (): Promise<Record<string, string>> => {
      const [server, redis] = await Promise.all([testPostgres(), testRedis()])
      const [{ url }, redisUrl] = await Promise.all([server.createDatabase(), redis.freshDatabase()])
      return {
        PORT: '0',
        DATABASE_URL: url,
        REDIS_URL: redisUrl,
        JWT_SECRET_KEY: 'tests only: long enough to sign with, 0123456789',
        SUPER_ADMIN_EMAIL: 'root@platform.example',
        SUPER_ADMIN_PASSWORD: 'a long enough passphrase',
      }
    }
    const migrationsOf = async (env: Record<string, string>) => {
      const { stdout } = await program.run(['migrate', 'status', '--json'], { env })
      return JSON.parse(stdout) as {
        current: boolean
        migrations: { name: string; applied_at: string | null }[]
      }
    }
    /** Starts all instances and returns the migrations they applied, repeats included. */
    const startAll = async (env: Record<string, string>): Promise<string[]> => {
      const started = await Promise.all(Array.from({ length: instances }, () => program.start([], { env })))
      const running = await Promise.all(started.map((one) => one.ready()))
      for (const { url } of running) expect((await fetch(`${url}/readyz`)).status).toBe(200)
      for (const one of running) one.signal('SIGTERM')
      for (const one of running) expect(await one.exited).toBe(0)
      return running.flatMap(({ lines }) =>
        lines()
          .filter(({ message }) => message === 'Migration applied')
          .map(({ migration }) => String(migration)),
      )
    }

    test('an empty and an older database are migrated once, by whichever instance comes first', async () => {
      const env = await freshSettings()
      const names = (await migrationsOf(env)).migrations.map(({ name }) => name)
      expect(await startAll(env)).toEqual(names)
      const admins = postgres(env['DATABASE_URL'] ?? '', { max: 1 })
      expect(await admins`select email from users`).toHaveLength(1)
      await admins.end({ timeout: 2 })

      expect((await program.run(['migrate', 'down', '2'], { env })).code).toBe(0)
      expect(await startAll(env)).toEqual(names.slice(-2))
      expect((await migrationsOf(env)).current).toBe(true)
      expect(await startAll(env)).toEqual([])
    })

    test('AUTO_MIGRATE=false applies nothing and says how to apply a pending migration', async () => {
      const env: Record<string, string> = { ...(await freshSettings()), AUTO_MIGRATE: 'false' }
      const { code, stderr } = await program.run([], { env })
      expect(code).toBe(1)
      expect(stderr).toContain('Run minimart migrate up')
      const check = await program.run(['check', '--json'], { env })
      expect(check.code).toBe(1)
      expect(check.stdout).toMatch(/"check":"migrations","ok":false/)
      expect((await migrationsOf(env)).migrations.every(({ applied_at }) => applied_at === null)).toBe(true)
      expect((await program.run(['migrate', 'up'], { env })).code).toBe(0)
      expect(await startAll(env)).toEqual([])
    })

    test('a database migrated by a newer release is refused, and left as it is', async () => {
      const env = await freshSettings()
      await program.run(['migrate', 'up'], { env })
      const database = postgres(env['DATABASE_URL'] ?? '', { max: 1 })
      await database`insert into schema_migrations (version, name, checksum) values (9999, '9999_from_the_future', 'x')`
      for (const args of [[], ['migrate', 'up'], ['migrate', 'down'], ['check']]) {
        const { code, stdout, stderr } = await program.run(args, { env })
        expect(code).toBe(1)
        expect(stdout + stderr).toContain(
          'newer than this program: it has the migration 9999_from_the_future',
        )
        expect(stderr).not.toMatch(/^ +at /m)
      }
      await database.end({ timeout: 2 })
    })
  })
})
