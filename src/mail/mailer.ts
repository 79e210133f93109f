/**
 * Sends mails in the background: by SMTP, or, without SMTP_HOST, into files. Both get the same composed bytes.
 * The log never holds a code, a link or, with SMTP, a whole address.
 */
import { join } from 'node:path'
import MailComposer from 'nodemailer/lib/mail-composer'
import { isAddress, type Sender } from '../config/sender.ts'
import type { Logger } from '../log.ts'
import { isPermanent, RefusedAddressError, reasonOf } from './failure.ts'
import { type Mail, type MailKind, maskAddress, singleLine } from './mail.ts'
import { createDeliveryQueue, defaultPolicy, type QueuePolicy, type QueueState } from './queue.ts'
import { type Delivery, fileCarrier, type MailConfig, type Message, smtpCarrier } from './transport.ts'

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

interface Job extends Delivery {
  /** Made at the first attempt; retries send the same bytes. */
  message?: Message
  /** Told its fate, once. */
  settle?: (handedOver: boolean) => void
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
