/** The texts of all mails. Names are user input: shown as names.ts allows, and escaped in HTML by the layout. */
import { webAddress } from './layout.ts'
import { type Content, type Mail, type MailKind, type Recipient, shortened } from './mail.ts'
import { shownName } from './names.ts'

interface Addressed {
  to: Recipient
  /** Null when no request caused the mail. */
  requestId?: string | null | undefined
}

/** `code` is the only six-digit number in the mail, so that people and password managers find it. */
export const otpMail = ({ to, tenantName, code, ttlMinutes, requestId }: OtpMail): Mail => {
  const reader = { ...to, fullName: withoutLongNumbers(to.fullName) }
  const tenant = shownName(withoutLongNumbers(tenantName), 100) || 'MiniMart'
  return mail('otp', { to: reader, requestId }, 'Your MiniMart code', {
    title: 'Your code',
    before: [
      greeting(reader),
      `This address was added to ${tenant} by an admin. Enter this code to confirm it:`,
    ],
    main: { code },
    after: [
      `It works once, within ${amount(ttlMinutes, 'minute')}. A newer code replaces it.`,
      'If you did not expect it, ignore this mail. Do not share the code with anyone.',
    ],
  })
}

export const invitationMail = (invitation: InvitationMail): Mail => {
  const { listName, invitedBy, role } = invitation
  const inviter = shownName(invitedBy, 100) || 'A colleague'
  return mail('invitation', invitation, `Invitation to ${listNamed(listName, 60)}`, {
    title: 'You are invited to a shopping list',
    before: [
      greeting(invitation.to),
      `${inviter} invites you to ${listNamed(listName, 100)}. ${rights[role]}`,
    ],
    main: { button: 'View the invitation', url: webAddress(invitation.url) },
    after: [
      `The invitation is for you only, works once and ends in ${amount(invitation.ttlHours, 'hour')}.`,
      'If you did not expect it, you can ignore this mail.',
    ],
  })
}

export const passwordResetMail = ({ to, url, ttlMinutes, requestId }: PasswordResetMail): Mail =>
  mail('password_reset', { to, requestId }, 'Choose a new MiniMart password', {
    title: 'Choose a new password',
    before: [greeting(to), 'A new password was requested for your account.'],
    main: { button: 'Choose a new password', url: webAddress(url) },
    after: [
      `The link works once, within ${amount(ttlMinutes, 'minute')}. Signed-in devices will be signed out.`,
      'If that was not you, ignore this mail: your password stays the same.',
    ],
  })

export const passwordChangedMail = ({ to, at, publicUrl, requestId }: PasswordChangedMail): Mail =>
  mail('password_changed', { to, requestId }, 'Your MiniMart password was changed', {
    title: 'Your password was changed',
    before: [
      greeting(to),
      `The password of your account at ${hostOf(publicUrl)} was changed on ${readableTime(at)}.`,
    ],
    main: null,
    after: [
      'If this was you, there is nothing to do.',
      'If it was not, someone may know your password: reset it now with "Forgot password", ' +
        'or contact your administrator.',
    ],
  })

const maxNamed = 50

/** To an admin, about users who never verified their address. */
export const removalNoticeMail = ({ to, people, staysUntil, requestId }: RemovalNoticeMail): Mail => {
  const [subject, madeBut, it] =
    people.length === 1
      ? ['An account', 'This account was created days ago, but its e-mail address was never confirmed.', 'It']
      : [
          `${people.length} accounts`,
          'These accounts were created days ago, but their e-mail addresses were never confirmed.',
          'They',
        ]
  const unnamed = people.length - maxNamed
  return mail('removal_notice', { to, requestId }, `${subject} never confirmed will be removed`, {
    title: 'Unconfirmed accounts will be removed',
    before: [
      greeting(to),
      `${madeBut} ${it} will be removed after ${readableTime(staysUntil)}, unless confirmed first:`,
      ...people.slice(0, maxNamed).map(({ fullName, email }) => {
        const name = shownName(fullName, 100)
        return `${name === '' ? '' : `${name}, `}${shortened(email, 254)}`
      }),
      ...(unnamed > 0 ? [`and ${unnamed} more.`] : []),
    ],
    main: null,
    after: [
      'To confirm, they sign in with their password and enter the code mailed to them.',
      'You do not need to do anything. An account for the same address can be created again at any time.',
    ],
  })
}

export interface OtpMail extends Addressed {
  tenantName: string
  /** Six digits. */
  code: string
  ttlMinutes: number
}

export interface InvitationMail extends Addressed {
  listName: string
  /** The inviter's full name. */
  invitedBy: string
  role: 'editor' | 'viewer'
  /** Target of the button, token included. */
  url: string
  ttlHours: number
}

export interface PasswordResetMail extends Addressed {
  url: string
  ttlMinutes: number
}

export interface PasswordChangedMail extends Addressed {
  at: Date
  publicUrl: string
}

export interface RemovalNoticeMail extends Addressed {
  people: readonly Recipient[]
  /** No account is removed earlier. */
  staysUntil: Date
}

function mail(kind: MailKind, { to, requestId }: Addressed, subject: string, content: Content): Mail {
  return {
    kind,
    to: { email: to.email, fullName: shownName(to.fullName, 100) },
    subject: shortened(subject, 120),
    content,
    ...(requestId ? { requestId } : {}),
  }
}

const rights = {
  editor: 'As an editor you can add, change and tick off items.',
  viewer: 'As a viewer you can see the list and its changes.',
} as const

const listNamed = (listName: string, limit: number): string => {
  const name = shownName(listName, limit)
  return name === '' ? 'a shopping list' : `the list "${name}"`
}

const greeting = ({ fullName }: Recipient): string => {
  const name = shownName(fullName, 60)
  return name === '' ? 'Hello,' : `Hello ${name},`
}

const withoutLongNumbers = (name: string): string => (/\p{Nd}{6}/u.test(shortened(name, 100)) ? '' : name)

const amount = (count: number, unit: 'minute' | 'hour'): string => {
  if (unit === 'minute' && count >= 120 && count % 60 === 0) return amount(count / 60, 'hour')
  if (unit === 'hour' && count >= 48 && count % 24 === 0) return `${count / 24} days`
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}

const hostOf = (url: string): string => new URL(webAddress(url)).host

/** `22 November 2026, 07:00 UTC` */
const readableTime = (at: Date): string =>
  `${new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeStyle: 'short', timeZone: 'UTC' })
    .format(at)
    .replace(' at ', ', ')} UTC`
