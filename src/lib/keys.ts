import { createHmac, timingSafeEqual } from 'node:crypto'

/**
 * One key per purpose, derived from the signing secret by HMAC-SHA-256 (RFC 5869's expand step), so that a MAC made
 * for one purpose proves nothing for another.
 */
export const deriveKey = (secret: string, purpose: string): Buffer =>
  createHmac('sha256', secret).update(`minimart:${purpose}`).digest()

/** HMAC-SHA-256 (RFC 2104), base64url: 43 characters. */
export const mac = (key: Buffer, text: string): string =>
  createHmac('sha256', key).update(text).digest('base64url')

/** Takes the same time wherever the texts differ; their lengths are no secret. */
export function equalInConstantTime(a: string, b: string): boolean {
  const left = Buffer.from(a)
  const right = Buffer.from(b)
  return left.length === right.length && timingSafeEqual(left, right)
}
