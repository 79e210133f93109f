import { isEmail } from '../lib/patterns.ts'

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
  if (!isEmail(address) || /\p{Cc}/u.test(text.trim()))
    throw new Error('must be an address, or a name and an address: MiniMart <no-reply@example.com>')
  return { name: (quoted?.replace(/\\(.)/g, '$1') ?? plain).replace(/\s+/g, ' ').trim(), address }
}
