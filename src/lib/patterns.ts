/** The forms of text that more than one part of the program reads, each stated once. */

/** Of any version, in lower case. */
export const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** The same in any case: what requests may send. */
export const anyCaseUuidPattern = /^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/

/** Lower-case letters, digits and hyphens; a DNS label (RFC 1123, section 2.1). */
export const slugPattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

/**
 * Narrower than RFC 5322: no quoted local parts, comments or literals, so that nothing in an address can end a header
 * or a mailbox early.
 */
const emailPattern = /^[^\s@"(),:;<>[\\\]\p{Cc}]{1,64}@[\p{L}\p{N}]([\p{L}\p{N}.-]*[\p{L}\p{N}])?$/u

export const maxEmailLength = 254

export const isEmail = (text: string): boolean =>
  text.length <= maxEmailLength && emailPattern.test(text) && !text.includes('..')
