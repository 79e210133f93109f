import { type Mail, maskAddress, singleLine } from './mail.ts'

/** Thrown before anything is sent; permanent. */
export class RefusedAddressError extends Error {
  override readonly name = 'RefusedAddressError'
}

/** Whether another attempt cannot help: 5xx responses, but for 503, which is about the session, not the mail. */
export const isPermanent = (error: unknown): boolean =>
  error instanceof RefusedAddressError || (isSmtpError(error) && error.permanent === true)

/** Log fields of a failure. The server's response may quote the recipient or the mail, so both are redacted. */
export function reasonOf(error: unknown, mail: Mail): Record<string, unknown> {
  const reason = textOf(error)
    .replaceAll(mail.to.email, maskAddress(mail.to.email))
    .replace(/https?:\S+/gi, '[link]')
    .replace(/\d{6,}/g, '[number]')
    .slice(0, 300)
  return isSmtpError(error)
    ? { reason, error: error.code, answer: error.responseCode, command: error.command }
    : { reason }
}

export const textOf = (error: unknown): string =>
  singleLine(error instanceof Error ? error.message : String(error))

/** The fields nodemailer adds to errors of the SMTP session. */
interface SmtpError extends Error {
  code?: string
  responseCode?: number
  command?: string
  permanent?: boolean
}

const isSmtpError = (error: unknown): error is SmtpError =>
  error instanceof Error && ('responseCode' in error || 'command' in error || 'code' in error)
