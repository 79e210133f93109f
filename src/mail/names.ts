/** How names that people typed are shown in mails: as text on one line, and not at all where they could be a link. */
import { shortened } from './mail.ts'

/**
 * What mail programs turn into a link without being told to: a URL, `www.`, a `mailto:`, a bare domain (a dot between
 * letters, as in an address), an IPv4 address. A dot may also be one of the full stops that IDNA takes for one
 * (RFC 3490, section 3.1). A name such as `St.Gallen` is not told apart from a domain, and is left out as well.
 */
const link =
  /:\/\/|www\.|mailto:|[\p{L}\p{M}\p{N}][.\u3002\uff61][\p{L}\p{M}]{2}|\p{L}[.\u3002\uff61]\p{L}[\p{L}\p{M}\p{N}-]*\/|\d(\.\d{1,3}){3}/iu

/** Invisible characters, and letters and dots in other shapes, would hide a domain from the pattern, not from all mail programs. */
const isLinkLike = (name: string): boolean => link.test(name.normalize('NFKC').replace(/\p{Cf}/gu, ''))

/**
 * A name for a mail: one line of at most `limit` code points; empty where it could become a link, so that nobody can
 * send a link of theirs under the operator's address.
 */
export const shownName = (name: string, limit: number): string =>
  isLinkLike(name) ? '' : shortened(name, limit)
