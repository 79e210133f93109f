import type { Self } from './apply.ts'
import type { ListEvent } from './messages.ts'

/** Why a subscription has ended. */
export type EndReason =
  | 'deleted'
  | 'removed'
  | 'left'
  /** There is no such list, or the user may not see it. */
  | 'not_found'
  | 'not_allowed'
  | 'too_many_lists'
  | 'signed_out'
  /** The whole client was closed. */
  | 'closed'

/**
 * `live`: the state is up to date. `syncing`: it is being brought up to date. `offline`: it is the last known one;
 * the client reconnects by itself. `ended`: it will not change any more.
 */
export type SubscriptionStatus =
  | { phase: 'syncing' | 'live' | 'offline' }
  | { phase: 'ended'; reason: EndReason }

/** What a failed snapshot means; null when a retry may help. @param status of HTTP */
export function endReasonOf(status: number): EndReason | null {
  if (status === 401) return 'signed_out'
  if (status === 403) return 'not_allowed'
  return status === 404 || status === 422 ? 'not_found' : null
}

/** What a terminal event means for the user; null for any other event. */
export function terminalReasonOf(event: ListEvent, self: Self): EndReason | null {
  if (event.type === 'list_deleted') return 'deleted'
  if (event.type === 'member_left' && event.payload.user_id === self.id) return 'left'
  if (event.type === 'member_removed' && event.payload.user_id === self.id) return 'removed'
  return null
}
