/** Who may read the figures: everybody, or who has METRICS_TOKEN. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { AppError } from '../errors.ts'

/**
 * @param token METRICS_TOKEN; null lets everybody in
 * @throws AppError token_missing, token_invalid
 */
export function checkMetricsToken(token: string | null, authorization: string | null): void {
  if (token === null) return
  if (authorization === null)
    throw new AppError('token_missing', 'Send the token of METRICS_TOKEN: Authorization: Bearer …')
  const [, given = ''] = /^Bearer +(\S+) *$/i.exec(authorization) ?? []
  // Digests are of one length, and comparing them tells nothing about how much of the token was right.
  if (!timingSafeEqual(digest(given), digest(token)))
    throw new AppError('token_invalid', 'This is not the token of METRICS_TOKEN.')
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
