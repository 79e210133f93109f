/**
 * The address a request comes from. Anyone can send an `X-Forwarded-For`, so only what trusted proxies appended to it
 * counts: reading from the right, the first address that is not one of theirs.
 */
import ipaddr from 'ipaddr.js'
import { maxProxies, type TrustProxy } from '../config/setting.ts'

/** No address is longer, with its brackets, zone and port. */
const maxEntryLength = 100

/** @param peer the address at the other end of the connection */
export function clientAddress(peer: string, forwardedFor: string | null, trust: TrustProxy): string {
  if (forwardedFor === null || ('hops' in trust && trust.hops === 0)) return canonical(peer)
  const chain = [...lastEntries(forwardedFor), peer].map(canonical)
  // Proxies append addresses only, so nothing left of anything else was written by one.
  const believed = chain.slice(1 + chain.findLastIndex((part) => !ipaddr.isValid(part)))
  if ('hops' in trust) return believed.at(-1 - Math.min(trust.hops, believed.length - 1)) ?? peer
  const trusted = (candidate: string): boolean => trust.addresses.some((range) => within(candidate, range))
  return believed.findLast((candidate) => !trusted(candidate)) ?? believed[0] ?? peer
}

/** From the right and no further than needed: the client writes what is on the left, as long as a header may be. */
function lastEntries(list: string): string[] {
  const entries: string[] = []
  let end = list.length
  for (let seen = 0; end >= 0 && seen < maxProxies; seen++) {
    // From -1, it would look at the first character again.
    const comma = end === 0 ? -1 : list.lastIndexOf(',', end - 1)
    const entry = end - comma > maxEntryLength ? 'too long' : list.slice(comma + 1, end).trim()
    if (entry !== '') entries.unshift(entry)
    end = comma
  }
  return entries
}

/**
 * What limits count as one client, the narrowest network first: an IPv4 address, or the /64, /56 and /48 of an IPv6
 * address. Providers give each customer a /64 at least and many a /48, so counting single addresses would stop nobody,
 * and counting /64s alone would give some 65,536 limits.
 */
export function networksOf(address: string): [string, ...string[]] {
  if (!ipaddr.IPv6.isValid(address)) return [address]
  const { parts } = ipaddr.IPv6.parse(address)
  const [a = 0, b = 0, c = 0, d = 0] = parts
  const network = (fourth: number, bits: number): string =>
    `${new ipaddr.IPv6([a, b, c, fourth, 0, 0, 0, 0])}/${bits}`
  return [network(d, 64), network(d & 0xff00, 56), network(0, 48)]
}

export const isLoopback = (address: string): boolean =>
  ipaddr.isValid(address) && ipaddr.parse(address).range() === 'loopback'

/** The block that refusals are counted by: the /24 of an IPv4 address, the /48 of an IPv6 one, which is a site's. */
export function blockOf(address: string): string {
  if (ipaddr.IPv6.isValid(address)) return `${ipaddr.IPv6.networkAddressFromCIDR(`${address}/48`)}/48`
  return ipaddr.IPv4.isValid(address) ? `${ipaddr.IPv4.networkAddressFromCIDR(`${address}/24`)}/24` : address
}

/** Unwraps IPv4-mapped IPv6 and drops the port that some proxies append. */
function canonical(text: string): string {
  const bare = text.replace(/^\[(.*)\](:\d+)?$/, '$1').replace(/^([\d.]+):\d+$/, '$1')
  return ipaddr.isValid(bare) ? ipaddr.process(bare).toString() : bare
}

function within(candidate: string, range: string): boolean {
  const address = ipaddr.parse(candidate)
  if (!range.includes('/')) return ipaddr.isValid(range) && ipaddr.process(range).toString() === candidate
  const [network, bits] = ipaddr.parseCIDR(range)
  return network.kind() === address.kind() && address.match(network, bits)
}
