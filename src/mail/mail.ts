export type MailKind = 'otp' | 'invitation' | 'password_reset' | 'password_changed' | 'removal_notice'

export interface Recipient {
  email: string
  fullName: string
}

/** A rendered mail, before it becomes a MIME message. */
export interface Mail {
  kind: MailKind
  to: Recipient
  subject: string
  text: string
  html: string
  /** Sent as `X-Request-Id`, to trace a mail back to its request. */
  requestId?: string
}

/** `anna@example.com` becomes `a***@example.com`: enough for debugging, too little to identify a person. */
export const maskAddress = (address: string): string => {
  const at = address.lastIndexOf('@')
  return at < 1 ? '***' : `${singleLine(address.slice(0, 1))}***${singleLine(address.slice(at))}`
}

/**
 * Control characters, line breaks of every kind and bidirectional overrides become spaces; whitespace is collapsed.
 * Joiners stay: emoji and several scripts need them.
 */
export const singleLine = (text: string): string =>
  text
    .replace(/[\p{Cc}\p{Zl}\p{Zp}\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]+/gu, ' ')
    .replace(/\s+/g, ' ')
    .trim()

/** One line of at most `limit` code points, ending in an ellipsis when truncated. */
export const shortened = (text: string, limit: number): string => {
  const characters = [...singleLine(text)]
  return characters.length <= limit
    ? characters.join('')
    : `${characters
        .slice(0, limit - 1)
        .join('')
        .trimEnd()}…`
}
