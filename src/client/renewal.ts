/** A newer token for the socket before the one it has ends. */
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

export interface Renewal {
  /** @param expiresAt the server's word for when `token` ends */
  plan(token: string, expiresAt: string): void
  cancel(): void
}

/** The server warns this long before a token ends. */
const warningMs = 60_000
const retryMs = 3000

export function createRenewal({ session, now, random, onToken, onSignedOut }: RenewalDeps): Renewal {
  const alarm = createAlarm()
  let turn = 0

  const renew = (token: string): void => {
    const mine = turn
    session.accessToken({ not: token, lifeMs: warningMs }).then(
      (next) => {
        if (mine === turn) onToken(next)
      },
      (error: unknown) => {
        if (mine !== turn) return
        if (isMiniMartError(error) && error.status === 401) onSignedOut()
        else alarm.set(retryMs, () => renew(token))
      },
    )
  }

  return {
    /**
     * Not at once: all who came at one moment are warned at one moment, and a token of a short life is warned of
     * from its first second on.
     */
    plan(token, expiresAt) {
      const leftMs = Math.min(Math.max(Date.parse(expiresAt) - now(), 0), warningMs)
      alarm.set(leftMs * (0.2 + 0.3 * random()), () => renew(token))
    },
    cancel() {
      turn++
      alarm.clear()
    },
  }
}
