/** Sessions and codes in the store that no release could have written: they count as none, and never make a 500. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { createClient as createRedis } from 'redis'
import { asBearer, login, makeUnverified, refresh, resetTokenFor } from '../../support/auth.ts'
import { createClient } from '../../support/client.ts'
import { makeTenant, makeUser, type Tenant } from '../../support/people.ts'
import { describeBackends, startServer, type TestServer } from '../../support/server.ts'
import { codeIn } from '../../support/smtp.ts'

const junk: Record<string, string> = {
  'no JSON': 'not json',
  nothing: '',
  'an object': '{"a":1}',
  'a number': '5',
  'a list of null': '[null]',
  'a list of lists': '[[],[[]]]',
  'a session without a life': '[{"version":1,"id":"x"}]',
  'text too long for a value': `["${'x'.repeat(70_000)}"]`,
  'long junk': JSON.stringify(Array.from({ length: 5000 }, () => null)),
  'a code without an end': `{"version":1,"proof":"x","wrongTries":0,"expiresAt":1e300}`,
  'a code with negative tries': `{"version":1,"proof":"x","wrongTries":-1e9,"expiresAt":9e12}`,
}

describeBackends('in the store,', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let overwrite: (pattern: string, value: string | string[]) => Promise<void>
  let close: () => void = () => undefined

  beforeAll(async () => {
    server = await startServer(backend, { RATE_LIMIT_API: '6000/day' })
    tenant = await makeTenant(server)
    const url = server.environment['REDIS_URL']
    if (url === undefined) {
      const { db } = server.running.deps
      overwrite = async (pattern, value) => {
        const changed = await db.write(
          'system',
          sql`update store_entries set value = ${String(value)} where key like ${pattern.replaceAll('*', '%')} returning 1`,
        )
        expect(changed).not.toEqual([])
      }
      return
    }
    const redis = createRedis({ url })
    await redis.connect()
    close = () => redis.destroy()
    overwrite = async (pattern, value) => {
      const keys = await redis.keys(`*${pattern}*`)
      expect(keys).not.toEqual([])
      for (const key of keys) {
        await redis.del(key)
        if (typeof value === 'string') await redis.set(key, value, { PX: 3_600_000 })
        else await redis.lPush(key, value)
      }
    }
  })
  afterAll(async () => {
    close()
    await server.stop()
  })

  const values = Object.entries<string | string[]>({
    ...junk,
    ...(backend === 'full' ? { 'a key of another type': ['a', 'b'] } : {}),
  })

  test.each(values)(
    '%s in place of sessions signs the person out, who can sign in again',
    async (_what, value) => {
      const ann = await makeUser(server, tenant)
      const pattern = `sessions:${ann.id}`
      await overwrite(pattern, value)
      const { body } = await ann.api.get('/auth/sessions')
      expect(body).toEqual({ data: [], next_cursor: null })
      expect((await refresh(server, ann.refreshToken)).body.code).toBe('refresh_token_invalid')
      const again = await login(server, ann.email)
      expect(again.status).toBe(200)
      const api = asBearer(server, again.body.access_token)
      expect((await api.get('/auth/sessions')).body.data).toMatchObject([{ current: true }])
      await overwrite(pattern, value)
      const change = { current_password: ann.password, new_password: 'another horse, another staple' }
      expect((await api.post('/auth/change-password', change)).status).toBe(204)
      await overwrite(pattern, value).catch(() => undefined)
      expect((await api.post('/auth/logout')).status).toBe(204)
    },
  )

  test.each(values)('%s in place of a code is no code, and a new one verifies', async (_what, value) => {
    const newcomer = await makeUnverified(server, tenant)
    const client = createClient(server.url)
    const verify = (otp: string) => client.post('/auth/verify-email', { email: newcomer.email, otp })
    await overwrite('otp:*', value)
    expect((await verify(newcomer.code)).body.code).toBe('otp_invalid')
    await overwrite('otp-wrong:*', value)
    expect((await verify(newcomer.code)).body.code).toBe('otp_invalid')
    expect((await client.post('/auth/resend-otp', { email: newcomer.email })).status).toBe(202)
    const code = codeIn(await server.inbox.waitFor(newcomer.email))
    expect((await verify(code)).status).toBe(200)
  })

  test.each(values)('%s in place of a reset link is no link, and a new one works', async (_what, value) => {
    const ann = await makeUser(server, tenant)
    const lost = await resetTokenFor(server, ann.email)
    await overwrite(`password-reset:${ann.id}`, value)
    const reset = (token: string) =>
      createClient(server.url).post('/auth/reset-password', {
        token,
        new_password: 'another horse, another staple',
      })
    expect((await reset(lost)).body.code).toBe('reset_token_invalid')
    expect((await reset(await resetTokenFor(server, ann.email))).status).toBe(204)
  })

  test('it is reported, and nothing was a fault', () => {
    const warned = server.log.lines.filter(({ level }) => level === 'warn')
    const kinds = warned.map(({ fields }) => fields?.['kind'])
    expect(kinds).toContain('sessions')
    expect(kinds).toContain('one-time code')
    expect(kinds).toContain('password reset')
    expect(new Set(kinds).size).toBe(kinds.length)
    expect(server.log.lines.filter(({ level }) => level === 'error')).toEqual([])
  })

  if (backend === 'full')
    test('rate limits under keys of another type count from zero, and calls go on', async () => {
      const ann = await makeUser(server, tenant)
      await overwrite('limit:*', ['a', 'b'])
      const { status, headers } = await ann.api.get('/auth/me')
      expect(status).toBe(200)
      expect(headers.get('ratelimit-remaining')).toBe('5999')
    })
})
