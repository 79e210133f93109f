/** The outbox when the mail server misbehaves: mails are late, never lost within the hour, and never sent twice. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { invitationMail } from '../../src/mail/templates.ts'
import { type OpenPostgres, openTestPostgres } from '../db/setup.ts'
import { describePostgres } from '../support/postgres.ts'
import { type Inbox, startInbox } from '../support/smtp.ts'
import { until } from '../support/until.ts'
import { age, anna, codeMail, type OutboxSetup, setUpOutbox, waitingRows } from './setup.ts'

const code = codeMail()
const invitation = invitationMail({
  to: anna,
  listName: 'Groceries',
  invitedBy: 'Ben',
  role: 'editor',
  url: 'https://shop.example.com/invite?token=secret.invitation.token',
  ttlHours: 72,
})
const secrets = ['042917', 'secret.invitation.token', 'https://shop', 'anna@example.com']

describePostgres('the outbox', () => {
  let database: OpenPostgres
  const cleanUps: (() => Promise<void>)[] = []
  beforeAll(async () => {
    database = await openTestPostgres()
  })
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
    await database.db.write('outbox', sql`delete from mail_outbox`)
  })
  afterAll(() => database.end())

  const setUp = async (
    options?: Parameters<typeof setUpOutbox>[2],
  ): Promise<OutboxSetup & { inbox: Inbox }> => {
    const inbox = await startInbox()
    const setup = await setUpOutbox(database.db, inbox, options)
    cleanUps.push(inbox.stop, setup.cleanUp)
    return { inbox, ...setup }
  }

  const emptied = () => until(async () => (await waitingRows(database.db)).length === 0, 'an empty outbox')

  test('retries a temporary refusal until the mail is accepted, once', async () => {
    const { inbox, mailer, queue } = await setUp()
    inbox.behave({ refuseWith: 451, at: 'message' })
    await queue(code)
    await until(() => mailer.counts().retried >= 2)
    inbox.behave('accept')
    await emptied()
    expect(mailer.counts()).toMatchObject({ sent: 1, failed: 0 })
    expect(inbox.mails).toHaveLength(1)
  })

  test('does not retry what is refused for good, an unknown recipient too', async () => {
    const { inbox, mailer, queue } = await setUp()
    for (const at of ['message', 'recipient'] as const) {
      inbox.behave({ refuseWith: 550, at })
      await queue(code)
      await emptied()
    }
    expect(mailer.counts()).toEqual({ sent: 0, failed: 2, retried: 0 })
    inbox.behave({ refuseWith: 450, at: 'recipient' })
    await queue(code)
    await until(() => mailer.counts().retried > 0)
    inbox.behave('accept')
    await inbox.waitFor('anna@example.com')
  })

  test.each(['drop', { hangAt: 'connect' }, { hangAt: 'message' }] as const)(
    'retries over broken connections and an unresponsive server: %j',
    async (behaviour) => {
      const { inbox, mailer, queue } = await setUp({ attemptTimeoutMs: 500 })
      inbox.behave(behaviour)
      await queue(code)
      await until(() => mailer.counts().retried > 0)
      inbox.behave('accept')
      await emptied()
      expect(inbox.mails).toHaveLength(1)
    },
  )

  test('retries until a server that is away is back', async () => {
    const { inbox, mailer, queue } = await setUp()
    await inbox.stop()
    await queue(code)
    await until(() => mailer.counts().retried > 2)
    const back = await startInbox({ port: inbox.port })
    cleanUps.push(back.stop)
    await emptied()
    expect(back.mails).toHaveLength(1)
  })

  test('pauses longer after each attempt, makes the last one after an hour, then gives up, logs and counts', async () => {
    const { db } = database
    const policy = { firstPauseMs: 2000, maxPauseMs: 600_000, leaseMs: 100_000_000 }
    const { inbox, mailer, queue, lines } = await setUp({ policy })
    inbox.behave({ refuseWith: 421, at: 'message' })
    const nextAfter = async (attempts: number): Promise<number> => {
      await until(() => mailer.counts().retried === attempts)
      const { next_in_ms } = JSON.parse(lines.at(-1) ?? '')
      await until(async () => ((await waitingRows(db))[0]?.dueInMs ?? Infinity) <= next_in_ms)
      return next_in_ms
    }
    await queue(code)
    const pauses = [await nextAfter(1)]
    for (const waited of [2, 10, 40, 170, 700, 1300]) {
      await age(db, waited)
      pauses.push(await nextAfter(pauses.length + 1))
    }
    const expected = [2, 8, 32, 128, 512, 600, 600]
    for (const [index, pauseMs] of pauses.entries())
      expect(Math.abs(pauseMs / 1000 / (expected[index] ?? 0) - 1)).toBeLessThan(0.26)
    // At the hour's end, however long the pause would be.
    await age(db, 3590)
    expect(await nextAfter(8)).toBeWithin(1, 10_001)
    expect(mailer.counts().failed).toBe(0)
    await age(db, 3601)
    await emptied()
    expect(mailer.counts()).toMatchObject({ sent: 0, failed: 1, retried: 8 })
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({
      level: 'error',
      message: 'mail failed',
      answer: 421,
    })
  })

  test('attempts a mail that was left for hours, but none that was left for more than a day', async () => {
    const { inbox, outbox, mailer, queue } = await setUp({ asleep: true })
    for (const hours of [5, 25]) {
      await queue(code)
      await age(database.db, hours * 3600)
      outbox.wake()
      await emptied()
    }
    expect(mailer.counts()).toEqual({ sent: 1, failed: 1, retried: 0 })
    expect(inbox.attempts()).toBe(1)
  })

  test('sends five at a time, and holds a bounded number of rows', async () => {
    const { inbox, mailer, queue } = await setUp({ policy: { batch: 12 } })
    inbox.behave({ hangAt: 'message' })
    await queue(...Array.from({ length: 40 }, () => code))
    await until(() => inbox.attempts() === 5)
    const held = async () => (await waitingRows(database.db)).filter(({ attempts }) => attempts > 0).length
    await until(async () => (await held()) === 12)
    expect([inbox.attempts(), inbox.openConnections(), await held()]).toEqual([5, 5, 12])
    expect(mailer.counts().sent).toBe(0)
  })

  test('logs no code, link, token or whole address', async () => {
    const { inbox, mailer, queue, lines } = await setUp()
    const text = `refused <anna@example.com>: spam 042917 https://shop.example.com/invite?token=secret.invitation.token`
    await queue(code, invitation)
    await until(() => mailer.counts().sent === 2)
    inbox.behave({ refuseWith: 550, at: 'message', text })
    await queue(code, invitation)
    await until(() => mailer.counts().failed === 2)
    await emptied()
    expect(lines).toHaveLength(4)
    for (const line of lines) {
      expect(line).toContain('a***@example.com')
      for (const secret of secrets) expect(line).not.toContain(secret)
    }
    expect(lines[2]).toContain('"answer":550')
  })

  describe('at a stop', () => {
    test('sends what is due, and leaves what waits for another attempt', async () => {
      const { inbox, outbox, mailer, queue } = await setUp({
        policy: { firstPauseMs: 60_000, maxPauseMs: 60_000 },
      })
      inbox.behave({ refuseWith: 451, at: 'message' })
      await queue(code)
      await until(() => mailer.counts().retried === 1)
      inbox.behave('accept')
      await queue(...Array.from({ length: 30 }, () => invitation))
      await outbox.drain(20_000)
      await outbox.close()
      expect(inbox.mails).toHaveLength(30)
      expect(await waitingRows(database.db)).toHaveLength(1)
      await age(database.db, 1)
      const next = await setUpOutbox(database.db, inbox)
      cleanUps.push(next.cleanUp)
      await emptied()
      expect(inbox.mails).toHaveLength(31)
    })

    test('ends in time with an unresponsive server, and another instance sends at once what it was sending', async () => {
      const { inbox, outbox, queue } = await setUp()
      inbox.behave({ hangAt: 'message' })
      await queue(...Array.from({ length: 7 }, () => code))
      await until(() => inbox.attempts() === 5)
      const begun = performance.now()
      await outbox.drain(150)
      await outbox.close()
      expect(performance.now() - begun).toBeLessThan(2000)
      const left = await waitingRows(database.db)
      expect(left.map(({ dueInMs }) => dueInMs > 0)).toEqual(Array(7).fill(false))
      inbox.behave('accept')
      const next = await setUpOutbox(database.db, inbox)
      cleanUps.push(next.cleanUp)
      await emptied()
      expect(inbox.mails).toHaveLength(7)
    })
  })
})
