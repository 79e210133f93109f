/** Mails that wait in the database: sent by one of the instances, whichever it is, and by another when it dies. */
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { platformTenantId } from '../../src/db/schema.ts'
import { createTenant, failureOf, type OpenPostgres, openTestPostgres } from '../db/setup.ts'
import { fillOutbox } from '../support/auth.ts'
import { describePostgres } from '../support/postgres.ts'
import { type Inbox, startInbox } from '../support/smtp.ts'
import { until } from '../support/until.ts'
import { age, codeMail, key, type OutboxSetup, setUpOutbox, waitingRows } from './setup.ts'

const code = codeMail()
const newerKey = Buffer.alloc(32, 'newer')

describePostgres('a mail in the outbox', () => {
  let database: OpenPostgres
  let inbox: Inbox
  const cleanUps: (() => Promise<void>)[] = []
  beforeAll(async () => {
    database = await openTestPostgres()
    inbox = await startInbox()
  })
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
    await database.db.write('outbox', sql`delete from mail_outbox`)
    inbox.behave('accept')
  })
  afterAll(async () => {
    await inbox.stop()
    await database.end()
  })

  const instance = async (options?: Parameters<typeof setUpOutbox>[2]): Promise<OutboxSetup> => {
    const setup = await setUpOutbox(database.db, inbox, options)
    cleanUps.push(setup.cleanUp)
    return setup
  }
  const rows = () => waitingRows(database.db)
  const emptied = () => until(async () => (await rows()).length === 0, 'an empty outbox')
  const receivedSince = (before: number) => inbox.mails.slice(before)

  test('is sent once, by one of several instances', async () => {
    const before = inbox.mails.length
    const instances = await Promise.all([1, 2, 3].map(() => instance()))
    const codes = Array.from({ length: 120 }, (_, index) => String(100_000 + index))
    const [first] = instances
    await Promise.all(codes.map((digits) => first?.queue(codeMail(digits))))
    for (const { outbox } of instances) outbox.wake()
    await emptied()
    const sent = receivedSince(before).map(({ text }) => /\d{6}/.exec(text)?.[0] ?? '')
    expect(sent.toSorted()).toEqual(codes)
    const counts = instances.map(({ mailer }) => mailer.counts().sent)
    expect(counts.reduce((sum, count) => sum + count)).toBe(120)
    expect(counts.filter((count) => count > 0).length).toBeGreaterThan(1)
  })

  test('that was committed a moment ago is sent without waiting for a poll', async () => {
    const { queue, outbox } = await instance({ policy: { pollEveryMs: 3_600_000 } })
    await until(() => outbox.depth().queued === 0)
    for (let count = 0; count < 3; count++) {
      await queue(code)
      outbox.wake()
      await emptied()
    }
  })

  test('whose transaction is rolled back is never sent', async () => {
    const before = inbox.mails.length
    const { outbox, queue } = await instance()
    const undone = new Error('undone')
    const work = database.db.transaction('system', async (query) => {
      await query(outbox.queue(platformTenantId, codeMail('111111')))
      throw undone
    })
    expect(await failureOf(work)).toBe(undone)
    await queue(code)
    await emptied()
    expect(receivedSince(before).map(({ text }) => text.includes('111111'))).toEqual([false])
  })

  test('that an instance was sending when it died is sent by another once the lease is over', async () => {
    const [before, attempts] = [inbox.mails.length, inbox.attempts()]
    inbox.behave({ hangAt: 'message' })
    // It neither renews its lease nor gives it up, like a process that was killed.
    const dead = await instance({ asleep: true, policy: { leaseMs: 1500 } })
    await dead.queue(code)
    dead.outbox.wake()
    await until(() => inbox.attempts() > attempts)
    const living = await instance()
    await until(async () => ((await rows())[0]?.attempts ?? 0) === 1)
    inbox.behave('accept')
    await emptied()
    expect(receivedSince(before)).toHaveLength(1)
    expect(living.mailer.counts().sent).toBe(1)
  })

  test('that takes longer than a lease to send is not taken over', async () => {
    const before = inbox.attempts()
    inbox.behave({ hangAt: 'message' })
    const slow = await instance({ policy: { leaseMs: 900 } })
    await slow.queue(code)
    await until(() => inbox.attempts() > before)
    const other = await instance()
    const [first] = await rows()
    // Renewed three times over, seen by the other in each of its polls.
    let highest = first?.dueInMs ?? 0
    let renewals = 0
    await until(async () => {
      const dueInMs = (await rows())[0]?.dueInMs ?? 0
      if (dueInMs > highest) renewals++
      highest = dueInMs
      return renewals === 9
    })
    expect((await rows()).map(({ attempts }) => attempts)).toEqual([1])
    expect(other.mailer.counts()).toEqual({ sent: 0, failed: 0, retried: 0 })
    expect(inbox.attempts()).toBe(before + 1)
  })

  test('sent while the database is away is not sent again when it is back', async () => {
    const before = inbox.mails.length
    const { db } = database
    let away = false
    const failing: typeof db = {
      ...db,
      write: (...call) => (away ? Promise.reject(new Error('away')) : db.write(...call)),
    }
    const setup = await setUpOutbox(failing, inbox)
    cleanUps.push(setup.cleanUp)
    const { attempt } = setup.mailer
    Object.assign(setup.mailer, {
      attempt: async (...call: Parameters<typeof attempt>) => {
        const outcome = await attempt(...call)
        away = true
        return outcome
      },
    })
    await setup.queue(code)
    await until(() => setup.lines.some((line) => line.includes('the outbox cannot be reached')))
    away = false
    await emptied()
    expect(receivedSince(before)).toHaveLength(1)
    expect(setup.lines.filter((line) => line.includes('the outbox cannot be reached'))).toHaveLength(1)
  })

  test('sealed with a newer key waits for an instance that has it, and is given up after an hour', async () => {
    const before = inbox.mails.length
    const older = await instance()
    const newer = await instance({ asleep: true, key: newerKey, previousKeys: [key] })
    await newer.queue(code)
    await until(() => older.mailer.counts().retried > 1)
    expect(receivedSince(before)).toEqual([])
    await until(async () => {
      newer.outbox.wake()
      return (await rows()).length === 0
    })
    expect(receivedSince(before)).toHaveLength(1)
    await newer.outbox.drain(5000)
    await newer.queue(code)
    await age(database.db, 3601)
    await emptied()
    expect(older.mailer.counts()).toMatchObject({ sent: 0, failed: 1 })
    expect(older.lines.at(-1)).toContain('sealed with another key')
    // The newer instance sends what was sealed before the rotation.
    await older.outbox.close()
    await older.queue(code)
    newer.outbox.wake()
    await emptied()
    expect(receivedSince(before)).toHaveLength(2)
  })

  test('for nobody goes without an attempt', async () => {
    const { queue, mailer } = await instance()
    const before = inbox.attempts()
    await queue(...Array.from({ length: 60 }, () => null))
    await emptied()
    expect(inbox.attempts()).toBe(before)
    expect(mailer.counts()).toEqual({ sent: 0, failed: 0, retried: 0 })
  })

  test('shows neither its code nor its recipient in the database', async () => {
    const { queue } = await instance({ asleep: true })
    await queue(code)
    const [row] = await database.db.read(
      'outbox',
      sql<{
        row: string
        bytes: string
      }>`select to_jsonb(m)::text as row, encode(sealed, 'escape') as bytes from mail_outbox m`,
    )
    for (const text of [row?.row, row?.bytes]) {
      expect(text?.length).toBeGreaterThan(100)
      expect(text).not.toMatch(/anna|042917|otp/i)
    }
  })

  test('past 2,000 of a tenant, or 20,000 in all, is refused with the change that causes it', async () => {
    const { db } = database
    const { outbox } = await instance({ asleep: true })
    const [mine, other] = [await createTenant(db), await createTenant(db)]
    const fill = (tenantId: string, count: number) => fillOutbox(db, tenantId, count)
    const rename = (tenant: typeof mine, name: string) =>
      db.write(
        tenant.scope,
        sql`update tenants set name = ${name} where id = ${tenant.id}`,
        outbox.queue(tenant.id, code),
      )
    await fill(mine.id, 1999)
    await rename(mine, 'Just in time')
    const full = { name: 'ConstraintError', constraint: 'mail_outbox_room' }
    expect(await failureOf(rename(mine, 'Too late'))).toMatchObject(full)
    await rename(other, 'Not concerned')
    for (let count = 0; count < 9; count++) await fill((await createTenant(db)).id, count < 8 ? 2000 : 1998)
    await rename(other, 'The last one')
    expect(await failureOf(rename(other, 'Too late'))).toMatchObject(full)
    const names = await db.read('system', sql<{ name: string }>`select name from tenants order by name`)
    expect(names.map(({ name }) => name)).not.toContain('Too late')
  })
})
