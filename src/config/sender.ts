export interface Sender {
  name: string
  address: string
}

/**
 * Reads `MiniMart <no-reply@example.com>`, `"Mini, Mart" <no-reply@example.com>` or the bare address.
 * @throws Error saying what is expected, for anything else, line breaks too.
 */
export function parseSender(text: string): Sender {
  const [, quoted, plain = '', angled, bare] =
    /^(?:(?:"((?:[^"\\]|\\.)*)"|([^"<>]*?))\s*<([^<>]+)>|([^<>"]+))$/.exec(text.trim()) ?? []
  const address = (angled ?? bare ?? '').trim()
  if (!isAddress(address) || /\p{Cc}/u.test(text.trim()))
    throw new Error('must be an address, or a name and an address: MiniMart <no-reply@example.com>')
  return { name: (quoted?.replace(/\\(.)/g, '$1') ?? plain).replace(/\s+/g, ' ').trim(), address }
}

/** Narrower than RFC 5322: no quoted local parts, comments or literals, so nothing in it can end a header early. */
export const isAddress = (address: string): boolean =>
  address.length <= 254 && /^[^\s\p{Cc}@<>(),;:"\\[\]]+@[^\s\p{Cc}@<>(),;:"\\[\]]+$/u.test(address)
