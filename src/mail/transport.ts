/** How composed mail leaves: to a mail server, or into a file. */
import { createTransport } from 'nodemailer'
import type { Config } from '../config/config.ts'
import { createEmlFolder } from './eml-folder.ts'
import { textOf } from './failure.ts'
import type { Mail } from './mail.ts'

export type MailConfig = Pick<
  Config,
  'smtpHost' | 'smtpPort' | 'smtpUser' | 'smtpPassword' | 'smtpSecure' | 'emailFrom'
>

export interface Letter {
  /** A UUIDv7, the same at each attempt. */
  id: string
  mail: Mail
  /** When it was written. */
  at: Date
}

export interface Message {
  raw: Buffer
  envelope: { from: string; to: string[] }
}

export interface Transport {
  /** Returns the log fields of the delivery. */
  deliver(letter: Letter, message: Message, signal: AbortSignal): Promise<Record<string, string>>
  /** @throws Error, written for the operator */
  check(): Promise<void>
  close(): void
}

export function fileTransport(folder: string): Transport {
  const files = createEmlFolder(folder)
  return {
    deliver: async ({ id, mail, at }, { raw }) => {
      const file = await files.write({ at, id, kind: mail.kind, address: mail.to.email, raw })
      return { to: mail.to.email, subject: mail.subject, file }
    },
    check: async () => {
      try {
        await files.check()
      } catch (error) {
        throw new Error(`The outbox ${folder} is not writable: ${textOf(error)}`, { cause: error })
      }
    },
    close: () => {},
  }
}

/** Mails sent at a time. */
export const maxConnections = 5

export function smtpTransport(config: MailConfig, host: string, trustedCertificates?: string): Transport {
  const smtp = createTransport({
    pool: true,
    host,
    port: config.smtpPort,
    ...encryption(config, trustedCertificates),
    ...(config.smtpUser !== null && config.smtpPassword !== null
      ? { auth: { user: config.smtpUser, pass: config.smtpPassword } }
      : {}),
    maxConnections,
    maxMessages: 100,
    idleTimeout: 30_000,
    // Retrying is the outbox's job.
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
    deliver: async (_letter, { raw, envelope }, signal) => {
      await smtp.sendMail({ envelope, raw, signal })
      return {}
    },
    check: async () => {
      try {
        await smtp.verify()
      } catch (error) {
        throw new Error(
          `The connection to the mail server ${host}:${config.smtpPort} failed: ${textOf(error)}`,
          {
            cause: error,
          },
        )
      }
    },
    close: () => smtp.close({ force: true }),
  }
}

/**
 * `auto` without credentials is opportunistic (RFC 7435): it encrypts where it can and accepts any certificate, for
 * an attacker who can forge one can strip STARTTLS as well. With credentials, or in `tls` and `starttls`, certificates
 * are verified.
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
