export interface Sender {
  name: string
  address: string
}

/**
 * Parses `MiniMart <no-reply@example.com>`, `"Mini, Mart" <no-reply@example.com>` or a bare address.
 * @throws Error saying what is expected
 */
export function parseSender(text: string): Sender {
  const [, quoted, plain = '', angled, bare] =
    /^(?:(?:"((?:[^"\\]|\\.)*)"|([^"<>]*?))\s*<([^<>]+)>|([^<>"]+))$/.exec(text.trim()) ?? []
  const address = (angled ?? bare ?? '').trim()
  if (!isAddress(address) || /\p{Cc}/u.test(text.trim()))
    throw new Error('must be an address, or a name and an address: MiniMart <no-reply@example.com>')
  return { name: (quoted?.replace(/\\(.)/g, '$1') ?? plain).replace(/\s+/g, ' ').trim(), address }
}

/** Narrower than RFC 5322: no quoted local parts, comments or literals, so that nothing can end a header early. */
export const addressPattern = /^[^\s\p{Cc}@<>(),;:"\\[\]]+@[^\s\p{Cc}@<>(),;:"\\[\]]+$/u

export const isAddress = (address: string): boolean => address.length <= 254 && addressPattern.test(address)
