/** Whatever causes a mail wakes the outbox once it is committed, so that no mail waits for a poll. */
import { expect, test } from 'bun:test'
import { login, makeUnverified, onceArrived, resetTokenFor } from '../support/auth.ts'
import { type Answer, createClient } from '../support/client.ts'
import { freshEmail, goodPassword, makeList, makeTenant, makeUser, superAdmin } from '../support/people.ts'
import { sharedServer } from '../support/server.ts'

test('every call that causes a mail wakes the outbox', async () => {
  const server = await sharedServer('embedded')
  const root = await superAdmin(server)
  const tenant = await makeTenant(server)
  const { api, email } = tenant.admin
  const list = await makeList(tenant.admin)
  const [guest, waiting] = [await makeUser(server, tenant), await makeUnverified(server, tenant)]
  const token = await resetTokenFor(server, guest.email)
  const open = createClient(server.url)
  const person = (): object => ({ email: freshEmail(), full_name: 'Late', password: goodPassword })
  const change = { current_password: goodPassword, new_password: `not ${goodPassword}` }
  const calls: Record<string, () => Promise<Answer>> = {
    'a new user': () => api.post('/users', person()),
    'a new tenant': () => root.api.post('/tenants', { name: 'Late', admin: person() }),
    'an invitation': () => api.post(`/shopping-lists/${list.id}/invite`, { email: guest.email }),
    'a forgotten password': () => open.post('/auth/forgot-password', { email }),
    'a new password': () => open.post('/auth/reset-password', { token, new_password: `not ${goodPassword}` }),
    'a changed password': () => api.post('/auth/change-password', change),
    'a code': () => onceArrived(server, () => open.post('/auth/resend-otp', { email: waiting.email })),
    'a sign-in before verification': () => onceArrived(server, () => login(server, waiting.email), 242),
  }
  const { outbox } = server.running.deps
  const { wake } = outbox
  for (const [what, call] of Object.entries(calls)) {
    let woken = 0
    Object.assign(outbox, {
      wake: () => {
        woken++
        wake()
      },
    })
    const { status } = await call().finally(() => Object.assign(outbox, { wake }))
    expect([what, status < 300 || status === 403, woken]).toEqual([what, true, 1])
  }
})
