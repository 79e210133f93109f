/**
 * Sends mail in the background: by SMTP, or, without SMTP_HOST, into files. Both get the same composed bytes.
 * The log never holds a code or a link, nor, with SMTP, a whole address.
 */
import { join } from 'node:path'
import MailComposer from 'nodemailer/lib/mail-composer'
import type { Sender } from '../config/sender.ts'
import { isEmail } from '../lib/patterns.ts'
import type { Logger } from '../log.ts'
import { isPermanent, RefusedAddressError, reasonOf } from './failure.ts'
import { type Mail, type MailKind, maskAddress, singleLine } from './mail.ts'
import { createDeliveryQueue, defaultPolicy, type QueuePolicy, type QueueState } from './queue.ts'
import { type Delivery, fileTransport, type MailConfig, type Message, smtpTransport } from './transport.ts'

export interface Mailer {
  /** Queues a mail. Never throws; failures are logged and counted. */
  send(mail: Mail): void
  /**
   * Queues a mail and resolves to whether the mail server, or the outbox, accepted it. That takes until the last
   * attempt at the latest, or until draining ends. Never rejects.
   */
  deliver(mail: Mail): Promise<boolean>
  /** At shutdown: sends what is queued within `timeoutMs` and logs what was lost. Later mail is dropped. */
  drain(timeoutMs: number): Promise<void>
  state(): QueueState
  /** @throws Error, written for the operator, when the mail server cannot be used or the outbox is not writable */
  check(): Promise<void>
}

export interface MailerOptions {
  config: MailConfig
  dataDir: string
  log: Logger
  /** Called for every outcome and retry. */
  onOutcome?: (outcome: 'sent' | 'retried' | 'failed' | 'dropped', kind: MailKind) => void
  policy?: Partial<QueuePolicy>
  /** Certificates (PEM) to trust besides the system's. */
  trustedCertificates?: string
}

interface Job extends Delivery {
  /** Composed at the first attempt; retries send the same bytes. */
  message?: Message
  /** Log fields of the delivery. */
  receipt?: Record<string, string>
  /** Called once. */
  settle?: (accepted: boolean) => void
}

export function createMailer(options: MailerOptions): Mailer {
  const { config, log, dataDir, onOutcome } = options
  const sender = config.emailFrom
  const transport =
    config.smtpHost === null
      ? fileTransport(join(dataDir, 'outbox'))
      : smtpTransport(config, config.smtpHost, options.trustedCertificates)
  const policy = { ...defaultPolicy, ...options.policy }
  let count = 0

  const queue = createDeliveryQueue<Job>({
    deliver: async (job, signal) => {
      job.message ??= await compose(job, sender)
      job.receipt = await transport.deliver(job, job.message, signal)
    },
    isPermanent,
    on: {
      sent: (job, attempt) => {
        log.info('mail sent', { ...about(job), attempt, ...job.receipt })
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
        log.error('mail lost: the service stopped before sending it', about(job))
        onOutcome?.('failed', job.mail.kind)
        job.settle?.(false)
      },
    },
    policy,
  })

  const newJob = (mail: Mail): Job => ({ mail, at: new Date(), number: ++count })

  return {
    send: (mail) => queue.add(newJob(mail)),
    deliver: (mail) => new Promise((settle) => queue.add({ ...newJob(mail), settle })),
    drain: async (timeoutMs) => {
      await queue.drain(timeoutMs)
      transport.close()
    },
    state: queue.state,
    check: transport.check,
  }
}

const dropReasons = { full: 'the queue is full', closed: 'the service is stopping' } as const

const about = ({ mail }: Job): Record<string, string> => ({
  kind: mail.kind,
  to: maskAddress(mail.to.email),
  ...(mail.requestId === undefined ? {} : { request_id: mail.requestId }),
})

async function compose({ mail, at }: Job, from: Sender): Promise<Message> {
  if (!isEmail(mail.to.email)) throw new RefusedAddressError('The recipient is not a usable e-mail address.')
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
 * Mail clients decode what looks like an encoded word (RFC 2047) even inside quotes, so a name written as one would
 * be shown as another, line breaks included.
 */
const plainName = (name: string): string => singleLine(name).replaceAll('=?', '= ?')

/** No number in an OTP mail may look like the code, not even in a header. */
const carriesRequestId = (mail: Mail): mail is Mail & { requestId: string } =>
  mail.requestId !== undefined && !(mail.kind === 'otp' && /\d{6}/.test(mail.requestId))

/** Random lower-case letters, four bits each. No digits: they could be taken for a code. */
const letters = (count: number): string =>
  [...crypto.getRandomValues(new Uint8Array(count))]
    .map((byte) => String.fromCharCode(97 + (byte & 15)))
    .join('')
