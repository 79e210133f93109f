/**
 * A pure reducer: a snapshot at any seq and the events after it give the snapshot at the last one, but for two things
 * that events do not contain. `list.updated_at` is the time of the event, a few milliseconds off, and a member's new
 * name appears with the next snapshot.
 */
import type { ListEvent } from './messages.ts'
import type { HistoryPosition, Id, Item, List, ListDetail, ListRole, Member } from './types.ts'

/** A list after all events up to `seq`. Immutable; what an event does not touch stays the same object. */
export interface ListState {
  readonly list: List
  readonly role: ListRole
  /** In order of joining. */
  readonly members: readonly Member[]
  /** In list order: by the bytes of `position`, then by id. */
  readonly items: readonly Item[]
  readonly seq: number
  readonly position: HistoryPosition
}

/** The signed-in user, whose `role` is shown. */
export interface Self {
  id: Id
  isTenantAdmin: boolean
}

export function stateOf({ role, members, items, position, ...list }: ListDetail): ListState {
  return {
    list,
    role,
    members: members.toSorted(byJoining),
    items: items.toSorted(byPosition),
    seq: list.seq,
    position,
  }
}

/** @throws RangeError unless `events` start at `state.seq + 1` and have no holes */
export function applyEvents(state: ListState, events: readonly ListEvent[], self: Self): ListState {
  if (events.length === 0) return state
  const draft = open(state)
  let { position } = state
  for (const event of events) {
    if (event.seq !== draft.seq + 1) throw new RangeError(`event ${event.seq} does not follow ${draft.seq}`)
    apply(draft, event, self)
    draft.seq = event.seq
    position = event.position
    draft.list = { ...draft.list, seq: event.seq, updated_at: later(draft.list.updated_at, event.at) }
  }
  return {
    list: draft.list,
    role: draft.role,
    members: draft.members ? [...draft.members.values()].sort(byJoining) : state.members,
    items: draft.items ? [...draft.items.values()].sort(byPosition) : state.items,
    seq: draft.seq,
    position,
  }
}

interface Draft {
  readonly state: ListState
  list: List
  role: ListRole
  seq: number
  /** Created by the first event that touches them. */
  members?: Map<Id, Member>
  items?: Map<Id, Item>
}

const open = (state: ListState): Draft => ({ state, list: state.list, role: state.role, seq: state.seq })

const membersOf = (draft: Draft): Map<Id, Member> => {
  draft.members ??= new Map(draft.state.members.map((member) => [member.user_id, member]))
  return draft.members
}

const itemsOf = (draft: Draft): Map<Id, Item> => {
  draft.items ??= new Map(draft.state.items.map((item) => [item.id, item]))
  return draft.items
}

function apply(draft: Draft, event: ListEvent, self: Self): void {
  switch (event.type) {
    case 'item_added':
    case 'item_updated':
      itemsOf(draft).set(event.payload.item.id, event.payload.item)
      break
    case 'item_deleted':
      itemsOf(draft).delete(event.payload.item_id)
      break
    case 'member_joined':
    case 'member_updated':
      membersOf(draft).set(event.payload.member.user_id, event.payload.member)
      if (event.payload.member.user_id === self.id) draft.role = event.payload.member.role
      break
    case 'member_left':
    case 'member_removed':
      membersOf(draft).delete(event.payload.user_id)
      // An admin still sees the list; for others this is the last event.
      if (event.payload.user_id === self.id && self.isTenantAdmin) draft.role = 'tenant_admin'
      break
    case 'list_updated':
    case 'list_deleted':
    case 'list_restored':
      draft.list = event.payload.list
      break
    default:
    // A type of a newer server: only its seq counts here.
  }
}

const later = (a: string, b: string): string => (a > b ? a : b)

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** Positions and ids are ASCII, so comparing characters compares bytes. */
export const byPosition = (a: Item, b: Item): number => compare(a.position, b.position) || compare(a.id, b.id)

const byJoining = (a: Member, b: Member): number =>
  compare(a.joined_at, b.joined_at) || compare(a.user_id, b.user_id)
