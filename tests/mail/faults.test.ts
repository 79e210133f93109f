import { afterEach, describe, expect, test } from 'bun:test'
import { invitationMail, otpMail } from '../../src/mail/templates.ts'
import { type Inbox, startInbox } from '../support/smtp.ts'
import { until } from '../support/until.ts'
import { setUpMailer } from './setup.ts'

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

const setUp = async (options?: Parameters<typeof setUpMailer>[2]) => {
  const inbox = await startInbox()
  const setup = await setUpMailer(inbox, {}, options)
  cleanUps.push(inbox.stop, setup.cleanUp)
  return { inbox, ...setup }
}

const to = { email: 'anna@example.com', fullName: 'Anna' }
const secrets = ['042917', 'secret.invitation.token', 'https://shop', 'anna@example.com']
const code = otpMail({ to, code: '042917', ttlMinutes: 10 })
const invitation = invitationMail({
  to,
  listName: 'Groceries',
  invitedBy: 'Ben',
  role: 'editor',
  url: 'https://shop.example.com/invite?token=secret.invitation.token',
  ttlHours: 72,
})

describe('when the server misbehaves', () => {
  test('a temporary refusal is retried until the mail is accepted, once', async () => {
    const { inbox, mailer, outcomes } = await setUp()
    inbox.behave({ refuseWith: 451, at: 'message' })
    mailer.send(code)
    await until(() => outcomes.length >= 2)
    inbox.behave('accept')
    await inbox.waitFor('anna@example.com')
    await until(() => mailer.state().sent === 1)
    expect(mailer.state()).toEqual({ queued: 0, sent: 1, failed: 0, dropped: 0 })
    expect(outcomes.slice(0, 2)).toEqual(['otp retried', 'otp retried'])
    expect(outcomes.at(-1)).toBe('otp sent')
    expect(inbox.mails).toHaveLength(1)
  })

  test('deliver() resolves when the mail is accepted, and not before', async () => {
    const { inbox, mailer, outcomes } = await setUp()
    inbox.behave({ refuseWith: 451, at: 'message' })
    const results: boolean[] = []
    const delivery = mailer.deliver(code).then((handedOver) => results.push(handedOver))
    await until(() => outcomes.length >= 1)
    expect(results).toEqual([])
    inbox.behave('accept')
    await delivery
    expect(results).toEqual([true])
    expect(inbox.mails).toHaveLength(1)
  })

  test('deliver() resolves to false for a mail that is refused, finds the queue full or is lost on stopping', async () => {
    const { inbox, mailer } = await setUp({ policy: { capacity: 1, attempts: 2 } })
    inbox.behave({ refuseWith: 550, at: 'message' })
    expect(await mailer.deliver(code)).toBe(false)
    inbox.behave({ refuseWith: 451, at: 'message' })
    expect(await mailer.deliver(code)).toBe(false)
    inbox.behave({ hangAt: 'message' })
    const hanging = mailer.deliver(code)
    expect(await mailer.deliver(code)).toBe(false)
    await mailer.drain(0)
    expect(await hanging).toBe(false)
    expect(await mailer.deliver(code)).toBe(false)
    expect(inbox.mails).toHaveLength(0)
  })

  test('a permanent refusal is not retried', async () => {
    const { inbox, mailer } = await setUp()
    inbox.behave({ refuseWith: 550, at: 'message' })
    mailer.send(code)
    await until(() => mailer.state().failed === 1)
    expect(inbox.attempts()).toBe(1)
  })

  test('an unknown recipient is permanent, a busy one is not', async () => {
    const { inbox, mailer, outcomes } = await setUp()
    inbox.behave({ refuseWith: 550, at: 'recipient' })
    mailer.send(code)
    await until(() => mailer.state().failed === 1)
    expect(outcomes).toEqual(['otp failed'])
    inbox.behave({ refuseWith: 450, at: 'recipient' })
    mailer.send(code)
    await until(() => outcomes.length > 2)
    inbox.behave('accept')
    await until(() => mailer.state().sent === 1)
  })

  test('it gives up after the bounded number of attempts', async () => {
    const { inbox, mailer } = await setUp({ policy: { attempts: 3 } })
    inbox.behave({ refuseWith: 421, at: 'message' })
    mailer.send(code)
    await until(() => mailer.state().failed === 1)
    expect(inbox.attempts()).toBe(3)
    expect(mailer.state().queued).toBe(0)
  })

  test('broken connections are retried', async () => {
    const { inbox, mailer } = await setUp()
    inbox.behave('drop')
    mailer.send(code)
    await until(() => inbox.attempts() >= 2)
    inbox.behave('accept')
    await inbox.waitFor('anna@example.com')
    await until(() => mailer.state().sent === 1)
  })

  test('an unresponsive server times out and is retried', async () => {
    for (const hangAt of ['connect', 'message'] as const) {
      const { inbox, mailer, outcomes } = await setUp({ policy: { attemptTimeoutMs: 500 } })
      inbox.behave({ hangAt })
      mailer.send(code)
      await until(() => outcomes.includes('otp retried'))
      inbox.behave('accept')
      await inbox.waitFor('anna@example.com')
      await until(() => mailer.state().sent === 1)
    }
  })

  test('a server that is down is retried until it is back', async () => {
    const { inbox, mailer } = await setUp({ policy: { attempts: 50 } })
    await inbox.stop()
    mailer.send(code)
    await until(() => mailer.state().queued === 1)
    const back: Inbox = await startInbox({ port: inbox.port })
    cleanUps.push(back.stop)
    await back.waitFor('anna@example.com')
    await expect(mailer.check()).resolves.toBeUndefined()
  })
})

test('the queue is bounded: the newest mail is dropped, logged and counted', async () => {
  const { inbox, mailer, lines } = await setUp({ policy: { capacity: 20 } })
  inbox.behave({ hangAt: 'connect' })
  for (let i = 0; i < 25; i++) mailer.send(code)
  expect(mailer.state()).toMatchObject({ queued: 20, dropped: 5 })
  expect(lines.filter((line) => line.includes('"mail dropped"'))).toHaveLength(5)
  await until(() => inbox.openConnections() > 0)
  expect(inbox.openConnections()).toBeLessThanOrEqual(5)
})

test('no log line holds a code, a link, a token or a whole address', async () => {
  const { inbox, mailer, lines } = await setUp()
  const text = `refused <anna@example.com>: spam 042917 https://shop.example.com/invite?token=secret.invitation.token`
  mailer.send(code)
  mailer.send(invitation)
  await until(() => mailer.state().sent === 2)
  inbox.behave({ refuseWith: 550, at: 'message', text })
  mailer.send(code)
  mailer.send(invitation)
  await until(() => mailer.state().failed === 2)
  await mailer.drain(100)
  mailer.send(code)
  expect(lines).toHaveLength(5)
  for (const line of lines) {
    expect(line).toContain('a***@example.com')
    for (const secret of secrets) expect(line).not.toContain(secret)
  }
  expect(lines[2]).toContain('"answer":550')
})

describe('draining', () => {
  test('sends queued mails, also those waiting for a retry', async () => {
    const { inbox, mailer, outcomes } = await setUp({
      policy: { firstPauseMs: 60_000, maxPauseMs: 60_000 },
    })
    inbox.behave({ refuseWith: 451, at: 'message' })
    mailer.send(code)
    await until(() => outcomes.length >= 1)
    inbox.behave('accept')
    for (let i = 0; i < 20; i++) mailer.send(invitation)
    await mailer.drain(5000)
    expect(mailer.state()).toEqual({ queued: 0, sent: 21, failed: 0, dropped: 0 })
    expect(inbox.mails).toHaveLength(21)
    await until(() => inbox.openConnections() === 0)
  })

  test('ends in time with an unresponsive server, logs what was lost, and accepts nothing more', async () => {
    const { inbox, mailer, lines } = await setUp()
    inbox.behave({ hangAt: 'message' })
    for (let i = 0; i < 7; i++) mailer.send(code)
    await until(() => inbox.attempts() > 0)
    const begun = performance.now()
    await mailer.drain(150)
    expect(performance.now() - begun).toBeLessThan(1000)
    expect(lines.filter((line) => line.includes('mail lost'))).toHaveLength(7)
    mailer.send(code)
    expect(mailer.state()).toEqual({ queued: 0, sent: 0, failed: 7, dropped: 1 })
    await until(() => inbox.openConnections() === 0)
  })
})
