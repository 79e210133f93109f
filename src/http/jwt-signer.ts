/**
 * JSON Web Tokens (RFC 7519), HS256 alone. The first key signs; all keys verify, so that a key can be rotated
 * without signing anyone out. Who issued a token and for what is part of what is verified.
 */
import { jwt } from '@elysiajs/jwt'
import type { Claims, JwtSigner } from '../access/jwt.ts'

const issuer = 'minimart'

/** How far the clock of another instance may be ahead. Revocations are kept longer than a token lives, by as much. */
const clockSkewSeconds = 30

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
        // At the epoch's beginning nothing has expired yet.
        const options = { algorithms: ['HS256'], issuer, audience, currentDate: new Date(0) }
        const claims = await key.verify(token, options)
        if (claims) return withTimes(claims)
      }
      return null
    },
  }
}

/** A signature's last character has two bits to spare: without this, four texts would pass for one token. */
function isSpelledAsSigned(token: string): boolean {
  const signature = token.slice(token.lastIndexOf('.') + 1)
  return Buffer.from(signature, 'base64url').toString('base64url') === signature
}

/** Null for what was signed in the future or ends when no date can say. */
function withTimes({ exp, iat, ...claims }: Record<string, unknown>): Claims | null {
  const now = Date.now() / 1000
  return isMoment(exp) && isMoment(iat) && iat <= now + clockSkewSeconds ? { ...claims, exp, iat } : null
}

/** Seconds from 1970 to the end of the year 9999. */
const isMoment = (value: unknown): value is number =>
  typeof value === 'number' && value >= 0 && value < 253_402_300_800
