import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger } from '../../src/log.ts'
import { createMailer, type Mailer, type MailerOptions } from '../../src/mail/mailer.ts'
import type { MailConfig } from '../../src/mail/transport.ts'

export interface MailerSetup {
  mailer: Mailer
  dataDir: string
  /** Logged JSON lines. */
  lines: string[]
  outcomes: string[]
  /** Polls; throws after five seconds. */
  cleanUp(): Promise<void>
}

/** A mailer with its own folder, short pauses and a recorded log; `server` null writes files. */
export async function setUpMailer(
  server: { host: string; port: number } | null,
  config: Partial<MailConfig> = {},
  options: Partial<Pick<MailerOptions, 'policy' | 'trustedCertificates'>> = {},
): Promise<MailerSetup> {
  const dataDir = await mkdtemp(join(tmpdir(), 'minimart-mail-'))
  const lines: string[] = []
  const outcomes: string[] = []
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
    onOutcome: (outcome, kind) => outcomes.push(`${kind} ${outcome}`),
    ...options,
    policy: { firstPauseMs: 20, maxPauseMs: 50, ...options.policy },
  })
  return {
    mailer,
    dataDir,
    lines,
    outcomes,
    cleanUp: async () => {
      await mailer.drain(0)
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}
