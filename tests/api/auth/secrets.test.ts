/** No answer or log line leaks a hash, code, password or token. */
import { expect, test } from 'bun:test'
import { makeUnverified, refresh, resetTokenFor, storedHash } from '../../support/auth.ts'
import { type Answer, createClient } from '../../support/client.ts'
import { asPerson, goodPassword, makeTenant } from '../../support/people.ts'
import { describeBackends, sharedServer } from '../../support/server.ts'

const userFields = [
  'created_at',
  'email',
  'email_verified',
  'full_name',
  'id',
  'is_active',
  'role',
  'tenant_id',
  'updated_at',
]

describeBackends('secrets', (backend) => {
  test('stay out of every answer and the log', async () => {
    const server = await sharedServer(backend)
    const tenant = await makeTenant(server)
    const newPassword = `a passphrase of its own ${crypto.randomUUID()}`
    const newcomer = await makeUnverified(server, tenant)
    const open = createClient(server.url)
    await open.post('/auth/verify-email', { email: newcomer.email, otp: newcomer.code })
    const ann = await asPerson(server, newcomer.email, goodPassword)
    const hashBefore = await storedHash(server, ann.email)

    const users: Answer[] = [
      await ann.api.get('/auth/me'),
      await ann.api.patch('/auth/me', { full_name: 'Ann' }),
      await tenant.admin.api.get(`/users/${ann.id}`),
      await tenant.admin.api.patch(`/users/${ann.id}`, { full_name: 'Anna' }),
    ]
    for (const { body } of users) expect(Object.keys(body).toSorted()).toEqual(userFields)

    const renewed = await refresh(server, ann.refreshToken)
    const resetToken = await resetTokenFor(server, ann.email)
    const others: Answer[] = [
      await tenant.admin.api.get('/users'),
      await ann.api.get('/users'),
      await ann.api.get('/auth/sessions'),
      await open.post('/auth/login', { email: ann.email, password: `not ${newPassword}` }),
      await open.post('/auth/verify-email', { email: ann.email, otp: newcomer.code }),
      await open.post('/auth/resend-otp', { email: ann.email }),
      await open.post('/auth/refresh', { refresh_token: `${ann.refreshToken}x` }),
      await open.post('/auth/reset-password', { token: resetToken, new_password: newPassword }),
      await open.post('/auth/reset-password', { token: resetToken, new_password: newPassword }),
      await open.post('/auth/login', { email: ann.email, passwort: newPassword }),
      await createClient(server.url, `${ann.accessToken}x`).get('/auth/me'),
    ]

    const hashes = [hashBefore, await storedHash(server, ann.email)]
    expect(hashes[0]).not.toBe(hashes[1])
    const secrets = [
      ...['$argon2', ...hashes, newPassword, goodPassword, resetToken],
      ...[ann.accessToken, ann.refreshToken, renewed.body.refresh_token, renewed.body.access_token],
      server.environment['JWT_SECRET_KEY'] ?? 'none',
    ]
    for (const { text } of [...users, ...others]) {
      for (const secret of secrets) expect(text).not.toContain(secret)
      expect(text).not.toMatch(new RegExp(`\\b${newcomer.code}\\b`))
      expect(text).not.toMatch(/"(otp|password|password_hash|salt|proof|secret|token_epoch|session_epoch)":/)
    }
    const log = server.log.lines.map(({ message, fields }) => `${message} ${JSON.stringify(fields)}`)
    expect(log.length).toBeGreaterThan(10)
    const leaks = log.filter((line) => secrets.some((secret) => line.includes(secret)))
    expect(leaks).toEqual([])
    expect(log.filter((line) => new RegExp(`\\b${newcomer.code}\\b`).test(line))).toEqual([])
  })
})
