/** Which address a request counts against; a client can never choose it. */
import { expect, test } from 'bun:test'
import { clientAddress } from '../../src/access/client-address.ts'
import { trustProxy } from '../../src/config/setting.ts'

const proxies = trustProxy('10.0.0.0/8, 2001:db8:ffff::/48, ::1')

test.each<[what: string, trust: string, peer: string, forwardedFor: string | null, client: string]>([
  ['nobody is trusted', 'false', '198.51.100.1', '192.0.2.9', '198.51.100.1'],
  ['no header', '1', '198.51.100.1', null, '198.51.100.1'],
  ['an empty one', '2', '198.51.100.1', ' , ,', '198.51.100.1'],
  ['one proxy', '1', '10.0.0.1', '192.0.2.9', '192.0.2.9'],
  ['one proxy, lied to by the client', '1', '10.0.0.1', '203.0.113.5, 192.0.2.9', '192.0.2.9'],
  ['two proxies', '2', '10.0.0.1', '203.0.113.5, 192.0.2.9, 10.0.0.2', '192.0.2.9'],
  ['more proxies than entries', '5', '10.0.0.1', '192.0.2.9', '192.0.2.9'],
  ['a port is ignored', '1', '10.0.0.1', '192.0.2.9:4711', '192.0.2.9'],
  ['a port is ignored with IPv6', '1', '10.0.0.1', '[2001:db8::9]:4711', '2001:db8::9'],
  ['brackets without a port', '1', '10.0.0.1', '[2001:db8::9]', '2001:db8::9'],
  ['IPv4 in IPv6', '1', '10.0.0.1', '::ffff:192.0.2.9', '192.0.2.9'],
  ['IPv4 in IPv6, in hexadecimal', '1', '10.0.0.1', '::FFFF:C000:209', '192.0.2.9'],
  ['IPv4 in IPv6 as the peer', 'false', '::ffff:198.51.100.1', null, '198.51.100.1'],
  ['one address written in two ways', '1', '10.0.0.1', '2001:DB8:0:0::0:9', '2001:db8::9'],
  ['garbage last', '1', '10.0.0.1', '192.0.2.9, junk', '10.0.0.1'],
  ['garbage before it', '2', '10.0.0.1', '192.0.2.9, junk, 203.0.113.5', '203.0.113.5'],
  ['"unknown", as RFC 7239 has it', '1', '10.0.0.1', 'unknown', '10.0.0.1'],
  ['a peer without an address, for hops', '1', 'unknown', '192.0.2.9', 'unknown'],
  ['a socket path', '1', '/run/proxy.sock', '192.0.2.9', '/run/proxy.sock'],
])('hops, %s', (_what, trust, peer, forwardedFor, client) => {
  expect(clientAddress(peer, forwardedFor, trustProxy(trust))).toBe(client)
})

test.each<[what: string, peer: string, forwardedFor: string | null, client: string]>([
  ['a proxy of theirs', '10.0.0.1', '192.0.2.9', '192.0.2.9'],
  ['a chain of theirs', '10.0.0.1', '203.0.113.5, 192.0.2.9, 10.9.9.9, 10.0.0.2', '192.0.2.9'],
  ['IPv6 and IPv4 mixed', '2001:db8:ffff::1', '2001:db8::9, ::ffff:10.0.0.3', '2001:db8::9'],
  ['an IPv4-mapped peer', '::ffff:10.0.0.1', '192.0.2.9', '192.0.2.9'],
  ['a stranger claiming to be behind one', '198.51.100.1', '192.0.2.9, 10.0.0.1', '198.51.100.1'],
  ['nothing but theirs', '10.0.0.1', '10.0.0.7, 10.0.0.8', '10.0.0.7'],
  ['garbage before theirs', '10.0.0.1', '192.0.2.9, <junk>, 10.0.0.8', '10.0.0.8'],
  ['a peer without an address', 'unknown', '192.0.2.9', 'unknown'],
])('addresses, %s', (_what, peer, forwardedFor, client) => {
  expect(clientAddress(peer, forwardedFor, proxies)).toBe(client)
})

test('of a long header only the last 32 entries are looked at', () => {
  const list = Array.from({ length: 40 }, (_, number) => `10.0.0.${number}`).join(', ')
  expect(clientAddress('10.1.0.1', list, proxies)).toBe('10.0.0.8')
  expect(clientAddress('10.1.0.1', `192.0.2.9${','.repeat(31)}`, proxies)).toBe('192.0.2.9')
  expect(clientAddress('10.1.0.1', `192.0.2.9${','.repeat(32)}`, proxies)).toBe('10.1.0.1')
  expect(clientAddress('10.1.0.1', `192.0.2.9, ${'1'.repeat(200)}, 203.0.113.5`, proxies)).toBe('203.0.113.5')
})

/** Looked at whole, each would take 10 to 50 ms: many seconds together. */
test.each([
  ['addresses', '::1,'.repeat(3500)],
  ['numbers', '1,'.repeat(7000)],
  ['commas', ','.repeat(14_000)],
  ['brackets', '['.repeat(14_000)],
  ['ports', `[${']:1'.repeat(4500)}`],
  ['dots', '1.'.repeat(7000)],
  ['colons', 'f:'.repeat(7000)],
])('a header of 14 KB of %s takes no time', (_what, header) => {
  const begun = performance.now()
  for (let count = 0; count < 200; count++)
    for (const trust of [trustProxy('false'), trustProxy('1'), proxies]) clientAddress('::1', header, trust)
  expect(performance.now() - begun).toBeLessThan(3000)
})
