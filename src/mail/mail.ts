/** What a mail is to the rest of the program: composed texts, not yet a message on the wire. */
export type MailKind = 'otp' | 'invitation' | 'password_reset' | 'password_changed' | 'removal_notice'

export interface Recipient {
  email: string
  fullName: string
}

export interface Mail {
  kind: MailKind
  to: Recipient
  subject: string
  text: string
  html: string
  /** Sent as `X-Request-Id`, so that a mail can be followed back to the call that caused it. */
  requestId?: string
}

/** `anna@example.com` becomes `a***@example.com`: enough to find a fault, too little to name a person. */
export const maskAddress = (address: string): string => {
  const at = address.lastIndexOf('@')
  return at < 1 ? '***' : `${singleLine(address.slice(0, 1))}***${singleLine(address.slice(at))}`
}

/**
 * Control characters, line breaks of every kind and text-direction overrides become spaces, runs of space one.
 * Joiners stay: emoji and several scripts need them.
 */
export const singleLine = (text: string): string =>
  text
    .replace(/[\p{Cc}\p{Zl}\p{Zp}\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]+/gu, ' ')
    .replace(/\s+/g, ' ')
    .trim()

/** One line of at most `limit` code points, the last an ellipsis where something was left out. */
export const shortened = (text: string, limit: number): string => {
  const characters = [...singleLine(text)]
  return characters.length <= limit
    ? characters.join('')
    : `${characters
        .slice(0, limit - 1)
        .join('')
        .trimEnd()}…`
}
