import { isMiniMartError } from './error.ts'
import type { AuthSession } from './session.ts'
import { createAlarm } from './timing.ts'

export interface RenewalDeps {
  session: Pick<AuthSession, 'accessToken'>
  now: () => number
  random: () => number
  onToken(token: string): void
  onSignedOut(): void
}

/** Gets a newer token for the socket before its current one expires. */
export interface Renewal {
  /** @param expiresAt RFC 3339, as the server sent it */
  schedule(token: string, expiresAt: string): void
  cancel(): void
}

/** The server warns this long before a token expires. */
const warningMs = 60_000
const retryMs = 3000

export function createRenewal({ session, now, random, onToken, onSignedOut }: RenewalDeps): Renewal {
  const alarm = createAlarm()
  let generation = 0

  const renew = (token: string): void => {
    const started = generation
    session.accessToken({ not: token, minLifeMs: warningMs }).then(
      (next) => {
        if (started === generation) onToken(next)
      },
      (error: unknown) => {
        if (started !== generation) return
        if (isMiniMartError(error) && error.status === 401) onSignedOut()
        else alarm.set(retryMs, () => renew(token))
      },
    )
  }

  return {
    schedule(token, expiresAt) {
      const leftMs = Math.min(Math.max(Date.parse(expiresAt) - now(), 0), warningMs)
      // Spread out, as clients that connected together are warned together.
      alarm.set(leftMs * (0.2 + 0.3 * random()), () => renew(token))
    },
    cancel() {
      generation++
      alarm.clear()
    },
  }
}
