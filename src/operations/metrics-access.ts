/** Access to /metrics: open, or by METRICS_TOKEN. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { AppError } from '../errors.ts'

/**
 * @param token METRICS_TOKEN; null: open to all
 * @throws AppError token_missing, token_invalid
 */
export function checkMetricsToken(token: string | null, authorization: string | null): void {
  if (token === null) return
  if (authorization === null)
    throw new AppError(
      'token_missing',
      'This endpoint requires the header Authorization: Bearer <METRICS_TOKEN>.',
    )
  const [, given = ''] = /^Bearer +(\S+) *$/i.exec(authorization) ?? []
  // timingSafeEqual needs equal lengths; digests have one.
  if (!timingSafeEqual(digest(given), digest(token)))
    throw new AppError('token_invalid', 'The bearer token does not match METRICS_TOKEN.')
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
