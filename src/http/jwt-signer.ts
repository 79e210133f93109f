/**
 * JSON Web Tokens (RFC 7519), HS256 only. The first key signs and all keys verify, so that a key can be rotated without
 * signing anyone out. Issuer and audience are verified as well.
 */
import { jwt } from '@elysiajs/jwt'
import type { Claims, JwtSigner } from '../access/jwt.ts'

const issuer = 'minimart'

/** How far another instance's clock may be ahead. Revocations outlive tokens by as much. */
const clockSkewSeconds = 30

/** @param secrets the signing key, then those that are still accepted */
export function createJwtSigner(secrets: readonly [string, ...string[]]): JwtSigner {
  const keys = secrets.map(
    (secret) => jwt({ secret: new TextEncoder().encode(secret), alg: 'HS256' }).decorator.jwt,
  )
  const [signing] = keys
  return {
    sign(claims, audience, ttlSeconds) {
      if (!signing) throw new Error('no signing key')
      const exp = Math.floor(Date.now() / 1000) + ttlSeconds
      return signing.sign({ ...claims, iss: issuer, aud: audience, exp })
    },
    async verify(token, audience) {
      if (!isSpelledAsSigned(token)) return null
      for (const key of keys) {
        // In 1970 nothing has expired yet: the caller checks expiry.
        const options = { algorithms: ['HS256'], issuer, audience, currentDate: new Date(0) }
        const claims = await key.verify(token, options)
        if (claims) return withTimes(claims)
      }
      return null
    },
  }
}

/** The last character of a signature has two unused bits: without this check, four texts would be one token. */
function isSpelledAsSigned(token: string): boolean {
  const signature = token.slice(token.lastIndexOf('.') + 1)
  return Buffer.from(signature, 'base64url').toString('base64url') === signature
}

/** Null for a token issued in the future, or one that expires beyond the range of dates. */
function withTimes({ exp, iat, ...claims }: Record<string, unknown>): Claims | null {
  const now = Date.now() / 1000
  return isMoment(exp) && isMoment(iat) && iat <= now + clockSkewSeconds ? { ...claims, exp, iat } : null
}

/** Seconds from 1970 to the end of the year 9999. */
const isMoment = (value: unknown): value is number =>
  typeof value === 'number' && value >= 0 && value < 253_402_300_800
