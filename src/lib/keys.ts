import { createHmac, timingSafeEqual } from 'node:crypto'

/**
 * One key per purpose, derived from the signing secret (HMAC-SHA-256 as the key derivation, after RFC 5869's
 * expand step), so that a value made for one purpose proves nothing for another.
 */
export const deriveKey = (secret: string, purpose: string): Buffer =>
  createHmac('sha256', secret).update(`minimart:${purpose}`).digest()

export const mac = (key: Buffer, text: string): string =>
  createHmac('sha256', key).update(text).digest('base64url')

/** Compares without telling by its time where the texts differ; their lengths are no secret. */
export function equalInConstantTime(a: string, b: string): boolean {
  const left = Buffer.from(a)
  const right = Buffer.from(b)
  return left.length === right.length && timingSafeEqual(left, right)
}
