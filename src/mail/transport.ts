/** The two ways a composed mail leaves: to a mail server, or into a file. */
import { createTransport } from 'nodemailer'
import type { Config } from '../config/config.ts'
import { textOf } from './failure.ts'
import type { Mail } from './mail.ts'
import { createOutbox } from './outbox.ts'
import { defaultPolicy } from './queue.ts'

export type MailConfig = Pick<
  Config,
  'smtpHost' | 'smtpPort' | 'smtpUser' | 'smtpPassword' | 'smtpSecure' | 'emailFrom'
>

export interface Delivery {
  mail: Mail
  at: Date
  /** Counts the mails of this process, so that files of one millisecond keep their order. */
  number: number
}

export interface Message {
  raw: Buffer
  envelope: { from: string; to: string[] }
}

export interface Carrier {
  /** Answers what the log should tell about the delivery. */
  deliver(delivery: Delivery, message: Message, signal: AbortSignal): Promise<Record<string, string>>
  check(): Promise<void>
  close(): void
}

export function fileCarrier(folder: string): Carrier {
  const outbox = createOutbox(folder)
  return {
    deliver: async ({ mail, at, number }, { raw }) => {
      const file = await outbox.write({ at, number, kind: mail.kind, address: mail.to.email, raw })
      return { to: mail.to.email, subject: mail.subject, file }
    },
    check: async () => {
      try {
        await outbox.check()
      } catch (error) {
        throw new Error(`The outbox ${folder} cannot be written: ${textOf(error)}`, { cause: error })
      }
    },
    close: () => {},
  }
}

export function smtpCarrier(config: MailConfig, host: string, trustedCertificates?: string): Carrier {
  const transport = createTransport({
    pool: true,
    host,
    port: config.smtpPort,
    ...encryption(config, trustedCertificates),
    ...(config.smtpUser !== null && config.smtpPassword !== null
      ? { auth: { user: config.smtpUser, pass: config.smtpPassword } }
      : {}),
    maxConnections: defaultPolicy.concurrency,
    maxMessages: 100,
    idleTimeout: 30_000,
    // Our queue retries, with pauses; the pool must not do so behind its back.
    maxRequeues: 0,
    dnsTimeout: 5000,
    connectionTimeout: 5000,
    greetingTimeout: 5000,
    socketTimeout: 15_000,
    socketCloseTimeout: 1000,
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  return {
    deliver: async (_delivery, { raw, envelope }, signal) => {
      await transport.sendMail({ envelope, raw, signal })
      return {}
    },
    check: async () => {
      try {
        await transport.verify()
      } catch (error) {
        throw new Error(`The mail server ${host}:${config.smtpPort} does not let us in: ${textOf(error)}`, {
          cause: error,
        })
      }
    },
    close: () => transport.close({ force: true }),
  }
}

/**
 * `auto` without a password encrypts where it can and trusts any certificate (RFC 7435): someone who can forge
 * one could as well hide STARTTLS. With a password to protect, and in `tls` and `starttls`, certificates count.
 */
function encryption(config: MailConfig, trustedCertificates?: string) {
  const { smtpSecure: mode, smtpPort: port } = config
  const opportunistic = mode === 'auto' && port !== 465 && config.smtpUser === null
  return {
    secure: mode === 'tls' || (mode === 'auto' && port === 465),
    requireTLS: mode === 'starttls',
    ignoreTLS: mode === 'none',
    tls: {
      rejectUnauthorized: !opportunistic,
      ...(trustedCertificates === undefined ? {} : { ca: trustedCertificates }),
    },
  }
}
