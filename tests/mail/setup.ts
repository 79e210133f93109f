import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import type { Database } from '../../src/db/database.ts'
import { platformTenantId } from '../../src/db/schema.ts'
import { createLogger } from '../../src/log.ts'
import type { Mail } from '../../src/mail/mail.ts'
import { createMailer, type Mailer, type MailerOptions } from '../../src/mail/mailer.ts'
import { createOutbox, type OutboxOptions, type OutboxSender } from '../../src/mail/outbox.ts'
import { createSealing } from '../../src/mail/sealing.ts'
import { otpMail } from '../../src/mail/templates.ts'
import type { MailConfig } from '../../src/mail/transport.ts'

export interface MailerSetup {
  mailer: Mailer
  dataDir: string
  /** Logged JSON lines. */
  lines: string[]
  cleanUp(): Promise<void>
}

type MailServer = { host: string; port: number }

/** A mailer with its own folder and a recorded log; `server` null writes files. */
export async function setUpMailer(
  server: MailServer | null,
  config: Partial<MailConfig> = {},
  options: Partial<Pick<MailerOptions, 'attemptTimeoutMs' | 'trustedCertificates'>> = {},
): Promise<MailerSetup> {
  const dataDir = await mkdtemp(join(tmpdir(), 'minimart-mail-'))
  const lines: string[] = []
  const mailer = createMailer({
    config: {
      smtpHost: server?.host ?? null,
      smtpPort: server?.port ?? 587,
      smtpUser: null,
      smtpPassword: null,
      smtpSecure: 'auto',
      emailFrom: { name: 'Mini, Mart', address: 'no-reply@shop.example.com' },
      ...config,
    },
    dataDir,
    log: createLogger({ level: 'debug', format: 'json', write: (line) => lines.push(line) }),
    ...options,
  })
  return {
    mailer,
    dataDir,
    lines,
    cleanUp: async () => {
      mailer.close()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

export interface OutboxSetup extends MailerSetup {
  outbox: OutboxSender
  /** Queues mails in one commit. */
  queue(...mails: (Mail | null)[]): Promise<void>
}

export const key = Buffer.alloc(32, 'key')

interface OutboxSetupOptions extends Pick<OutboxOptions, 'policy'> {
  attemptTimeoutMs?: number
  key?: Buffer
  previousKeys?: Buffer[]
  /** It sends only when the test wakes it. */
  asleep?: true
}

/** An instance's outbox, with short pauses; `server` null writes files. */
export async function setUpOutbox(
  db: Database,
  server: MailServer | null,
  options: OutboxSetupOptions = {},
): Promise<OutboxSetup> {
  const { policy, attemptTimeoutMs = 30_000, key: own = key, previousKeys = [], asleep } = options
  const setup = await setUpMailer(server, {}, { attemptTimeoutMs })
  const outbox = createOutbox({
    db,
    sealing: createSealing(own, previousKeys),
    mailer: setup.mailer,
    log: createLogger({ level: 'debug', format: 'json', write: (line) => setup.lines.push(line) }),
    policy: { firstPauseMs: 20, maxPauseMs: 50, pollEveryMs: 20, ...policy },
  })
  if (!asleep) outbox.start()
  return {
    ...setup,
    outbox,
    async queue(...mails) {
      const [last, ...others] = mails.map((mail) => outbox.queue(platformTenantId, mail))
      if (last) await db.write('system', ...others, last)
    },
    cleanUp: async () => {
      await outbox.drain(1)
      await outbox.close()
      await setup.cleanUp()
    },
  }
}

export interface WaitingRow {
  attempts: number
  /** Until it is due; negative once it is. */
  dueInMs: number
}

export const waitingRows = (db: Database): Promise<WaitingRow[]> =>
  db.read(
    'outbox',
    sql<WaitingRow>`select attempts,
      extract(epoch from due_at - clock_timestamp())::double precision * 1000 as "dueInMs"
      from mail_outbox order by created_at, id`,
  )

/** Makes every mail look as if it had been queued that long ago, and due. */
export const age = (db: Database, seconds: number): Promise<unknown> =>
  db.write(
    'outbox',
    sql`update mail_outbox set due_at = clock_timestamp(),
      created_at = clock_timestamp() - make_interval(secs => ${seconds}::double precision)`,
  )

export const anna = { email: 'anna@example.com', fullName: 'Anna Berg' }

export const codeMail = (code = '042917', to: Partial<typeof anna> = {}, requestId?: string): Mail =>
  otpMail({ to: { ...anna, ...to }, tenantName: 'Corner house', code, ttlMinutes: 10, requestId })
