import { AppError, type ErrorCode } from '../../errors.ts'

/** Why a change of a list may be refused, in the words the client reads. */
const messages = {
  forbidden: 'Your role on this list does not allow this.',
  version_mismatch: 'It has changed since you read it; `current` is how it is now.',
  id_conflict: 'This id already belongs to something else.',
  id_deleted: 'What had this id has been deleted.',
  idempotency_conflict: 'You have used this Idempotency-Key for another call.',
  list_full: 'A list holds at most 5,000 items and 4 MiB of their text.',
  tenant_full: 'Your organisation keeps as many lists, or as much text, as it may.',
  already_member: 'They are already a member of this list.',
  owner_must_hand_over: 'The owner must hand the list over to another member first.',
  member_deactivated: 'A deactivated user cannot own a list.',
  invitation_spent: 'This invitation has already been used.',
  invitation_void: 'The list is gone, or whoever sent the invitation may no longer invite to it.',
} as const satisfies Partial<Record<ErrorCode, string>>

export type Refusal = keyof typeof messages

export const isRefusal = (code: string | null): code is Refusal => code !== null && code in messages

/** The representation that a precondition was not met by, as JSON text, and its version. */
export interface Current {
  body: string
  tag: string
}

/** @param current for version_mismatch */
export const refusal = (code: Refusal, current: Current | null = null): AppError =>
  new AppError(
    code,
    messages[code],
    current === null ? {} : { currentJson: current.body, headers: { etag: `"${current.tag}"` } },
  )
