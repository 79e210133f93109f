/**
 * An invitation works once. While someone is accepting it, it is held for a moment; only when the membership is
 * committed is it spent for good, so that a crash in between leaves it usable.
 */
import { AppError } from '../../errors.ts'
import type { Store } from '../../store/store.ts'
import type { Invitation } from './token.ts'

const holdSeconds = 30

const place = (invitation: Invitation): string => `invitation:${invitation.id}`

const secondsLeft = ({ expiresAt }: Invitation): number =>
  Math.max(1, Math.ceil(expiresAt - Date.now() / 1000))

const spent = (): AppError => new AppError('invitation_spent', 'This invitation has been used already.')

/** @throws AppError invitation_spent (409) */
export async function refuseSpent(store: Store, invitation: Invitation): Promise<void> {
  if ((await store.get(place(invitation))) !== null) throw spent()
}

/** For one caller only, until it is spent or released. @throws AppError invitation_spent (409) */
export async function holdInvitation(store: Store, invitation: Invitation): Promise<void> {
  if (!(await store.compareAndSet(place(invitation), null, 'held', holdSeconds))) throw spent()
}

export const releaseInvitation = async (store: Store, invitation: Invitation): Promise<void> => {
  await store.compareAndSet(place(invitation), 'held', null, 1)
}

export const spendInvitation = (store: Store, invitation: Invitation): Promise<void> =>
  store.set(place(invitation), 'spent', secondsLeft(invitation))
