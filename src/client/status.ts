/** How it stands with a followed list, and why one is followed no longer. */
import type { Self } from './apply.ts'
import type { ListEvent } from './messages.ts'

export type EndReason =
  | 'deleted'
  | 'removed'
  | 'left'
  /** There is no such list for the caller, or no longer. */
  | 'not_found'
  | 'not_allowed'
  | 'too_many_lists'
  | 'signed_out'
  /** By `close` of the whole client. */
  | 'closed'

/** `live`: nothing is missing. `syncing`: on the way there. `offline`: the last known state; it comes back by itself. */
export type FollowStatus = { phase: 'syncing' | 'live' | 'offline' } | { phase: 'ended'; reason: EndReason }

/** What a refused reading of the list means; null where trying again may help. @param status of HTTP */
export function endingOf(status: number): EndReason | null {
  if (status === 401) return 'signed_out'
  if (status === 403) return 'not_allowed'
  return status === 404 || status === 422 ? 'not_found' : null
}

/** What an event means for whether its reader may hear more; null when he may. */
export function farewellOf(event: ListEvent, self: Self): EndReason | null {
  if (event.type === 'list_deleted') return 'deleted'
  if (event.type === 'member_left' && event.payload.user_id === self.id) return 'left'
  if (event.type === 'member_removed' && event.payload.user_id === self.id) return 'removed'
  return null
}
