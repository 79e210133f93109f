/**
 * Sends mails in the background: by SMTP, or, without SMTP_HOST, into files. Both get the same composed bytes.
 * The log never holds a code, a link or, with SMTP, a whole address.
 */
import { join } from 'node:path'
import { createTransport } from 'nodemailer'
import MailComposer from 'nodemailer/lib/mail-composer'
import type { Config } from '../config.ts'
import { isAddress, type Sender } from '../lib/sender.ts'
import type { Logger } from '../log.ts'
import { isPermanent, RefusedAddressError, reasonOf, textOf } from './failure.ts'
import { type Mail, type MailKind, maskAddress, singleLine } from './mail.ts'
import { createOutbox } from './outbox.ts'
import { createDeliveryQueue, defaultPolicy, type QueuePolicy, type QueueState } from './queue.ts'

export type MailConfig = Pick<
  Config,
  'smtpHost' | 'smtpPort' | 'smtpUser' | 'smtpPassword' | 'smtpSecure' | 'emailFrom'
>

export interface Mailer {
  /** Queues a mail. Never throws and never waits; what goes wrong later is logged and counted. */
  send(mail: Mail): void
  /**
   * Queues a mail and answers, once its fate is known, whether it was handed over: to the mail server, or into the
   * outbox. That can take as long as the queue tries, or as draining does. Never rejects.
   */
  deliver(mail: Mail): Promise<boolean>
  /** For shutting down: sends what is left within the time and logs what was lost. Later mails are dropped. */
  drain(timeoutMs: number): Promise<void>
  state(): QueueState
  /** Throws, with a sentence for people, when the mail server does not let us in or the outbox is not writable. */
  check(): Promise<void>
}

export interface MailerOptions {
  config: MailConfig
  dataDir: string
  log: Logger
  /** Counts ends and retries, for metrics. */
  onOutcome?: (outcome: 'sent' | 'retried' | 'failed' | 'dropped', kind: MailKind) => void
  policy?: Partial<QueuePolicy>
  /** Certificates (PEM) trusted beside the system's. */
  trustedCertificates?: string
}

interface Job {
  mail: Mail
  at: Date
  /** Counts the mails of this process, so that files of one millisecond keep their order. */
  number: number
  /** Made at the first attempt; retries send the same bytes. */
  message?: Message
  /** Told its fate, once. */
  settle?: (handedOver: boolean) => void
}

interface Message {
  raw: Buffer
  envelope: { from: string; to: string[] }
}

interface Carrier {
  /** Answers what the log should tell about the delivery. */
  deliver(job: Job, message: Message, signal: AbortSignal): Promise<Record<string, string>>
  check(): Promise<void>
  close(): void
}

/** @throws ConfigError when EMAIL_FROM is no sender. */
export function createMailer(options: MailerOptions): Mailer {
  const { config, log, dataDir, onOutcome } = options
  const sender = config.emailFrom
  const carrier =
    config.smtpHost === null
      ? fileCarrier(join(dataDir, 'outbox'))
      : smtpCarrier(config, config.smtpHost, options.trustedCertificates)
  const policy = { ...defaultPolicy, ...options.policy }
  let accepted = 0
  const told = new WeakMap<Job, Record<string, string>>()

  const queue = createDeliveryQueue<Job>({
    deliver: async (job, signal) => {
      job.message ??= await compose(job, sender)
      told.set(job, await carrier.deliver(job, job.message, signal))
    },
    isPermanent,
    on: {
      sent: (job, attempt) => {
        log.info('mail sent', { ...about(job), attempt, ...told.get(job) })
        onOutcome?.('sent', job.mail.kind)
        job.settle?.(true)
      },
      failed: (job, attempt, error, nextInMs) => {
        const fields = { ...about(job), attempt, ...reasonOf(error, job.mail) }
        if (nextInMs === null) log.error('mail failed', fields)
        else log.warn('mail delayed', { ...fields, next_in_ms: nextInMs })
        onOutcome?.(nextInMs === null ? 'failed' : 'retried', job.mail.kind)
        if (nextInMs === null) job.settle?.(false)
      },
      dropped: (job, reason) => {
        log.error('mail dropped', { ...about(job), reason: dropReasons[reason] })
        onOutcome?.('dropped', job.mail.kind)
        job.settle?.(false)
      },
      lost: (job) => {
        log.error('mail lost: the service stopped before it was sent', about(job))
        onOutcome?.('failed', job.mail.kind)
        job.settle?.(false)
      },
    },
    policy,
  })

  const newJob = (mail: Mail): Job => ({ mail, at: new Date(), number: ++accepted })

  return {
    send: (mail) => queue.add(newJob(mail)),
    deliver: (mail) => new Promise((settle) => queue.add({ ...newJob(mail), settle })),
    drain: async (timeoutMs) => {
      await queue.drain(timeoutMs)
      carrier.close()
    },
    state: queue.state,
    check: carrier.check,
  }
}

const dropReasons = { full: 'too many mails are waiting', closed: 'the service is stopping' } as const

const about = ({ mail }: Job): Record<string, string> => ({
  kind: mail.kind,
  to: maskAddress(mail.to.email),
  ...(mail.requestId === undefined ? {} : { request_id: mail.requestId }),
})

async function compose({ mail, at }: Job, from: Sender): Promise<Message> {
  if (!isAddress(mail.to.email)) throw new RefusedAddressError('The recipient is no usable e-mail address.')
  const message = new MailComposer({
    from,
    to: { name: plainName(mail.to.fullName), address: mail.to.email },
    subject: singleLine(mail.subject),
    text: mail.text,
    html: mail.html,
    date: at,
    messageId: `<${letters(32)}@${from.address.slice(from.address.lastIndexOf('@') + 1)}>`,
    headers: {
      'Auto-Submitted': 'auto-generated',
      'X-Auto-Response-Suppress': 'All',
      ...(carriesRequestId(mail) ? { 'X-Request-Id': singleLine(mail.requestId) } : {}),
    },
    baseBoundary: letters(24),
    textEncoding: 'quoted-printable',
    disableFileAccess: true,
    disableUrlAccess: true,
  }).compile()
  return { raw: await message.build(), envelope: { from: from.address, to: [mail.to.email] } }
}

/**
 * Readers decode what looks like an encoded word (RFC 2047) inside quotes too, where it is none: a name written as
 * one would show as another, line breaks and all.
 */
const plainName = (name: string): string => singleLine(name).replaceAll('=?', '= ?')

/** In an OTP mail no other number may look like the code, not even in a header. */
const carriesRequestId = (mail: Mail): mail is Mail & { requestId: string } =>
  mail.requestId !== undefined && !(mail.kind === 'otp' && /\d{6}/.test(mail.requestId))

/** Random lower-case letters, about four bits each: digits could be taken for a code. */
const letters = (count: number): string =>
  [...crypto.getRandomValues(new Uint8Array(count))]
    .map((byte) => String.fromCharCode(97 + (byte & 15)))
    .join('')

function fileCarrier(folder: string): Carrier {
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

function smtpCarrier(config: MailConfig, host: string, trustedCertificates?: string): Carrier {
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
    deliver: async (_job, { raw, envelope }, signal) => {
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
