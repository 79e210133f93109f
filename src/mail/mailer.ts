/**
 * Attempts to send a mail: by SMTP, or, without SMTP_HOST, into a file. Both get the same composed bytes. The log never
 * holds a code or a link, nor, with SMTP, a whole address.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import MailComposer from 'nodemailer/lib/mail-composer'
import type { Sender } from '../config/sender.ts'
import { newId } from '../lib/ids.ts'
import { isEmail } from '../lib/patterns.ts'
import type { LogFields, Logger } from '../log.ts'
import { isPermanent, RefusedAddressError, reasonOf } from './failure.ts'
import { renderHtml, renderText } from './layout.ts'
import { type Mail, maskAddress, singleLine } from './mail.ts'
import { fileTransport, type Letter, type MailConfig, type Message, smtpTransport } from './transport.ts'

export type Outcome =
  | 'sent'
  /** Refused for good, or not to be tried again. */
  | 'failed'
  /** To be attempted again after this time. */
  | { retryInMs: number }

export interface Mailer {
  /**
   * One attempt, logged and counted. Never rejects.
   * @param attempt counts from 1, for the log
   * @param retryInMs asked after a temporary failure: when the next attempt will be; null for never
   */
  attempt(letter: Letter, attempt: number, retryInMs: () => number | null): Promise<Outcome>
  /** In place of an attempt, for a mail that cannot be sent from here; likewise logged and counted. */
  refuse(mail: Mail | null, reason: string, retryInMs: () => number | null): Outcome
  /** One attempt for a caller that comes again by itself. @returns whether the mail server, or the folder, accepted it */
  deliver(mail: Mail): Promise<boolean>
  /** Since the start. */
  counts(): Readonly<Record<'sent' | 'failed' | 'retried', number>>
  /** @throws Error, written for the operator, when the mail server cannot be used or the folder is not writable */
  check(): Promise<void>
  /** Cuts off attempts in progress; they count as temporary failures. */
  close(): void
}

export interface MailerOptions {
  config: MailConfig
  dataDir: string
  log: Logger
  attemptTimeoutMs?: number
  /** Certificates (PEM) to trust besides the system's. */
  trustedCertificates?: string
}

export function createMailer(options: MailerOptions): Mailer {
  const { config, log, dataDir, attemptTimeoutMs = 30_000 } = options
  const transport =
    config.smtpHost === null
      ? fileTransport(join(dataDir, 'outbox'))
      : smtpTransport(config, config.smtpHost, options.trustedCertificates)
  const counts = { sent: 0, failed: 0, retried: 0 }
  const closing = new AbortController()

  const failure = (fields: LogFields, retryInMs: number | null): Outcome => {
    if (retryInMs === null) {
      counts.failed++
      log.error('mail failed', fields)
      return 'failed'
    }
    counts.retried++
    log.warn('mail delayed', { ...fields, next_in_ms: Math.round(retryInMs) })
    return { retryInMs }
  }

  const attempt: Mailer['attempt'] = async (letter, number, retryInMs) => {
    const about = { ...fieldsOf(letter.mail), attempt: number }
    try {
      const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(attemptTimeoutMs)])
      const receipt = await transport.deliver(letter, await compose(letter, config.emailFrom), signal)
      counts.sent++
      log.info('mail sent', { ...about, ...receipt })
      return 'sent'
    } catch (error) {
      return failure({ ...about, ...reasonOf(error, letter.mail) }, isPermanent(error) ? null : retryInMs())
    }
  }

  return {
    attempt,
    refuse: (mail, reason, retryInMs) => failure({ ...(mail && fieldsOf(mail)), reason }, retryInMs()),
    deliver: async (mail) => (await attempt({ id: newId(), mail, at: new Date() }, 1, () => null)) === 'sent',
    counts: () => counts,
    check: transport.check,
    close: () => {
      closing.abort()
      transport.close()
    },
  }
}

const fieldsOf = ({ kind, to, requestId }: Mail): Record<string, string> => ({
  kind,
  to: maskAddress(to.email),
  ...(requestId === undefined ? {} : { request_id: requestId }),
})

/** The same bytes at each attempt, so that a mail that arrives twice can be recognised by its Message-ID. */
async function compose({ id, mail, at }: Letter, from: Sender): Promise<Message> {
  if (!isEmail(mail.to.email)) throw new RefusedAddressError('The recipient is not a usable e-mail address.')
  const message = new MailComposer({
    from,
    to: { name: plainName(mail.to.fullName), address: mail.to.email },
    subject: singleLine(mail.subject),
    text: renderText(mail.content),
    html: renderHtml(mail.content),
    date: at,
    messageId: `<${lettersOf(id)}@${from.address.slice(from.address.lastIndexOf('@') + 1)}>`,
    headers: {
      'Auto-Submitted': 'auto-generated',
      'X-Auto-Response-Suppress': 'All',
      ...(carriesRequestId(mail) ? { 'X-Request-Id': singleLine(mail.requestId) } : {}),
    },
    baseBoundary: lettersOf(`boundary ${id}`),
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

/** 32 lower-case letters that stand for the text. No digits: they could be taken for a code. */
const lettersOf = (text: string): string =>
  [...createHash('sha256').update(text).digest()]
    .map((byte) => String.fromCharCode(97 + (byte & 15)))
    .join('')
