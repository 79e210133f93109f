/** Access tokens signed with no key, another key or another algorithm, and headers that ask for one. */
import { beforeAll, expect, test } from 'bun:test'
import { generateKeyPairSync, sign as signWith } from 'node:crypto'
import { forge } from '../../support/auth.ts'
import { describeService, sharedServer } from '../../support/server.ts'
import { encode, type Forgery, hs256, startForging } from './forging.ts'

const invalid = '401 token_invalid'
const now = (): number => Math.floor(Date.now() / 1000)

describeService('an access token', (backend) => {
  let made: Forgery

  beforeAll(async () => {
    made = await startForging(await sharedServer(backend))
  })

  test('made by hand with the same claims and key is accepted, so the refusals below prove something', async () => {
    const harmless = {
      'as it was': forge(made.claims, made.secret, hs256),
      'its header the other way round': forge(made.claims, made.secret, { typ: 'JWT', alg: 'HS256' }),
      'with claims and header fields that mean nothing here': forge(
        { ...made.claims, also: [1] },
        made.secret,
        {
          ...hs256,
          kid: '1',
        },
      ),
      'for us among others': made.changed({ aud: ['others', made.claims['aud']] }),
      'of a clock a little ahead': made.changed({ iat: now() + 20 }),
    }
    expect(await made.notAnswered('200', harmless)).toEqual([])
  })

  test('with no algorithm or any other than HS256 is refused, whatever its signature', async () => {
    const names = [
      'none',
      'None',
      'NONE',
      'nOnE',
      '',
      ' HS256',
      'hs256',
      'HS256\u0000',
      'HS1',
      'HS384',
      'HS512',
    ]
    const others = ['RS256', 'RS512', 'PS256', 'ES256', 'ES256K', 'EdDSA', 'dir', 'A256GCMKW']
    const tokens: Record<string, string> = {}
    for (const alg of [...names, ...others, null, 256, true, ['HS256'], { HS256: 1 }, undefined]) {
      const body = `${encode(JSON.stringify({ typ: 'JWT', alg }))}.${encode(JSON.stringify(made.claims))}`
      const hash = alg === 'HS512' ? 'sha512' : alg === 'HS384' ? 'sha384' : 'sha256'
      for (const signature of [
        made.hmac(body, made.secret, hash),
        made.hmac(body),
        '',
        'AA',
        made.token.split('.')[2],
      ])
        tokens[`${JSON.stringify(alg)} with ${signature}`] = `${body}.${signature}`
      tokens[`${JSON.stringify(alg)} without a signature`] = body
    }
    const doubled = `${encode('{"alg":"none","alg":"HS256"}')}.${encode(JSON.stringify(made.claims))}`
    const turned = made.signed('{"alg":"HS256","alg":"none"}', JSON.stringify(made.claims))
    expect(
      await made.notAnswered(invalid, { ...tokens, 'HS256 given twice': `${doubled}.`, turned }),
    ).toEqual([])
  })

  test('that brings or names its own key is refused, and no URL in it is fetched', async () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const edwards = generateKeyPairSync('ed25519')
    let asked = 0
    const listening = Bun.serve({ port: 0, fetch: () => Response.json({ asked: ++asked }) })
    const mine = 'a key of the attacker, long enough to be one'
    const own = { kty: 'oct', k: encode(mine), alg: 'HS256' }
    const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' })
    const asymmetric = (header: object, key: Parameters<typeof signWith>[2]): string => {
      const body = `${encode(JSON.stringify(header))}.${encode(JSON.stringify(made.claims))}`
      const hash = JSON.stringify(header).includes('EdDSA') ? null : 'sha256'
      return `${body}.${encode(signWith(hash, Buffer.from(body), key))}`
    }
    const jwk = (key: typeof rsa.publicKey): object => key.export({ format: 'jwk' })
    const p1363 = { key: ec.privateKey, dsaEncoding: 'ieee-p1363' } as const
    const tokens = {
      'RS256 with its key': asymmetric({ alg: 'RS256', jwk: jwk(rsa.publicKey) }, rsa.privateKey),
      'ES256 with its key': asymmetric({ alg: 'ES256', jwk: jwk(ec.publicKey) }, p1363),
      'EdDSA with its key': asymmetric({ alg: 'EdDSA', jwk: jwk(edwards.publicKey) }, edwards.privateKey),
      'RS256 called HS256': asymmetric({ alg: 'HS256', jwk: jwk(rsa.publicKey) }, rsa.privateKey),
      'HS256 under a public key': forge(made.claims, String(pem), hs256),
      'HS256 with its key': forge(made.claims, mine, { ...hs256, jwk: own }),
      'HS256 with its key elsewhere': forge(made.claims, mine, {
        ...hs256,
        jku: `${listening.url}keys`,
        x5u: `${listening.url}key.pem`,
        kid: 'mine',
      }),
      'HS256 with a certificate': forge(made.claims, mine, { ...hs256, x5c: [btoa('certificate')] }),
      'of an empty file for a key': forge(made.claims, '', { ...hs256, kid: '../../../../dev/null' }),
      'of a key from a query': forge(made.claims, 'x', { ...hs256, kid: "' union select 'x" }),
      'under another key': forge(made.claims, mine, hs256),
      "under the secret's base64": forge(made.claims, btoa(made.secret), hs256),
      'under the secret in other letters': forge(made.claims, made.secret.toUpperCase(), hs256),
    }
    try {
      expect(await made.notAnswered(invalid, tokens)).toEqual([])
      expect(asked).toBe(0)
    } finally {
      await listening.stop(true)
    }
  })

  test('with an unknown critical header or a malformed one is refused even when correctly signed', async () => {
    const payload = JSON.stringify(made.claims)
    const header = JSON.stringify(hs256)
    const crit = (names: unknown, more: object = {}): string =>
      forge(made.claims, made.secret, { ...hs256, crit: names, ...more })
    const plain = `${encode(JSON.stringify({ ...hs256, b64: false, crit: ['b64'] }))}.${payload}`
    const tokens = {
      'a critical claim': crit(['exp']),
      'a critical unknown': crit(['urn:example:own'], { 'urn:example:own': 1 }),
      'nothing critical': crit([]),
      'no list of what is critical': crit('alg'),
      'an unencoded payload, said so': crit(['b64'], { b64: false }),
      'an unencoded payload': `${plain}.${made.hmac(plain)}`,
      ...Object.fromEntries(
        ['', 'null', '[]', '"HS256"', '1', '{', '{}', `${header}x`].flatMap((text) => [
          [`header ${text}`, made.signed(text, payload)],
          [`claims ${text}`, made.signed(header, text.replace(header, payload))],
        ]),
      ),
      'claims that are no text': made.signed(header, new Uint8Array([0x7b, 0xff, 0xfe, 0x7d])),
      'claims in two byte letters': made.signed(header, Buffer.from(payload, 'utf16le')),
      'a list of claims': made.signed(header, `[${payload}]`),
      'claims within claims': made.signed(header, JSON.stringify(JSON.stringify(made.claims))),
    }
    expect(await made.notAnswered(invalid, tokens)).toEqual([])
  })
})
