/**
 * The address a request comes from. Anyone can send an `X-Forwarded-For`, so only what trusted proxies appended to it
 * counts: reading from the right, the first address that is not one of theirs.
 */
import ipaddr from 'ipaddr.js'
import type { TrustProxy } from '../config/config.ts'

/** @param peer the address at the other end of the connection */
export function clientAddress(peer: string, forwardedFor: string | null, trust: TrustProxy): string {
  const chain = [
    ...(forwardedFor ?? '')
      .split(',')
      .map((part) => part.trim())
      .filter(Boolean),
    peer,
  ].map(canonical)
  // Proxies append addresses only, so nothing left of anything else was written by one.
  const believed = chain.slice(1 + chain.findLastIndex((part) => !ipaddr.isValid(part)))
  if ('hops' in trust) return believed.at(-1 - Math.min(trust.hops, believed.length - 1)) ?? peer
  const trusted = (candidate: string): boolean => trust.addresses.some((range) => within(candidate, range))
  return believed.findLast((candidate) => !trusted(candidate)) ?? believed[0] ?? peer
}

/**
 * What limits count as one client: an IPv4 address, or the /64 of an IPv6 address. Providers give each customer a /64
 * at least, so counting single addresses would stop nobody.
 */
export function networkOf(address: string): string {
  if (!ipaddr.IPv6.isValid(address)) return address
  return `${new ipaddr.IPv6([...ipaddr.IPv6.parse(address).parts.slice(0, 4), 0, 0, 0, 0])}/64`
}

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
