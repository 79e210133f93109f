/**
 * The address a request comes from. `X-Forwarded-For` is written by whoever sends the request, so only the part
 * that trusted proxies appended is believed: reading from the right, the first address that is not theirs.
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
  // No proxy appends anything but addresses, so what stands left of something else was not written by one.
  const believed = chain.slice(1 + chain.findLastIndex((part) => !ipaddr.isValid(part)))
  if ('hops' in trust) return believed.at(-1 - Math.min(trust.hops, believed.length - 1)) ?? peer
  const trusted = (candidate: string): boolean => trust.addresses.some((range) => within(candidate, range))
  return believed.findLast((candidate) => !trusted(candidate)) ?? believed[0] ?? peer
}

/**
 * What is counted as one client: an IPv4 address, or the /64 that an IPv6 address is in. That is the least a customer
 * of a provider has to himself, so counting its addresses one by one would stop nobody.
 */
export function networkOf(address: string): string {
  if (!ipaddr.IPv6.isValid(address)) return address
  return `${new ipaddr.IPv6([...ipaddr.IPv6.parse(address).parts.slice(0, 4), 0, 0, 0, 0])}/64`
}

/** IPv4 in IPv6's clothes is IPv4; a port behind the address, as some proxies write it, is dropped. */
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
