/**
 * JSON Web Tokens (RFC 7519), HS256 alone. The first key signs; all keys verify, so that a key can be rotated
 * without signing anyone out. Who issued a token and for what is part of what is verified.
 */
import { jwt } from '@elysiajs/jwt'
import type { JwtSigner } from '../lib/jwt.ts'

const issuer = 'minimart'

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
      for (const key of keys) {
        // At the epoch's beginning nothing has expired yet.
        const options = { algorithms: ['HS256'], issuer, audience, currentDate: new Date(0) }
        const claims = await key.verify(token, options)
        if (claims && typeof claims.exp === 'number' && typeof claims.iat === 'number')
          return { ...claims, exp: claims.exp, iat: claims.iat }
      }
      return null
    },
  }
}
