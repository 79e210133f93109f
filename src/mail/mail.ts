import { type Static, Type } from '@sinclair/typebox'

const mailKinds = ['otp', 'invitation', 'password_reset', 'password_changed', 'removal_notice'] as const
export type MailKind = (typeof mailKinds)[number]

const strict = { additionalProperties: false }

const Recipient = Type.Object({ email: Type.String(), fullName: Type.String() }, strict)
export type Recipient = Static<typeof Recipient>

/** What a mail says; layout.ts makes text and HTML of it. */
const Content = Type.Object(
  {
    title: Type.String(),
    /** Paragraphs of plain text. */
    before: Type.Array(Type.String()),
    main: Type.Union([
      Type.Object({ code: Type.String() }, strict),
      Type.Object({ button: Type.String(), url: Type.String() }, strict),
      Type.Null(),
    ]),
    after: Type.Array(Type.String()),
  },
  strict,
)
export type Content = Static<typeof Content>

/** A mail before it becomes a MIME message: also the form in which it waits in the database (sealing.ts). */
export const Mail = Type.Object(
  {
    kind: Type.Union(mailKinds.map((kind) => Type.Literal(kind))),
    to: Recipient,
    subject: Type.String(),
    content: Content,
    /** Sent as `X-Request-Id`, to trace a mail back to its request. */
    requestId: Type.Optional(Type.String()),
  },
  strict,
)
export type Mail = Static<typeof Mail>

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
