/** All followed lists over one socket: opened with the first, closed a while after the last. */
import type { ListState } from './apply.ts'
import { isEvent, type ListEvent, type ServerMessage } from './messages.ts'
import { createLine, type LineDeps, type LineTiming } from './socket.ts'
import type { EndReason, FollowStatus } from './status.ts'
import { createFollower, type Follower, type FollowerDeps } from './subscription.ts'
import { createAlarm } from './timing.ts'
import type { Id } from './types.ts'

export interface FollowHandlers {
  /** With every new state; several events that come together make one. */
  onState?: (state: ListState) => void
  onStatus?: (status: FollowStatus) => void
  /** Each event that was applied, after onState. None for what a snapshot brought. */
  onEvent?: (event: ListEvent) => void
}

export interface Following {
  /** Null until the first snapshot is there. */
  state(): ListState | null
  status(): FollowStatus
  /** No handler is called after it. */
  close(): void
}

export interface LiveTiming extends LineTiming {
  /** How long the answer to a subscription may take before it is sent again. */
  answerMs: number
  /** How long the socket stays open when nothing is followed: the next list may be a click away. */
  lingerMs: number
}

export interface LiveDeps
  extends Pick<LineDeps, 'url' | 'WebSocket' | 'session' | 'now' | 'random'>,
    Pick<FollowerDeps, 'self'> {
  timing: LiveTiming
  /** A handler threw; the list goes on. */
  onHandlerError: (error: unknown) => void
  readList: (listId: Id, signal: AbortSignal) => ReturnType<FollowerDeps['readList']>
}

export interface Live {
  follow(listId: Id, handlers: FollowHandlers): Following
  wake(): void
  /** Ends every following. */
  endAll(reason: EndReason): void
}

interface Followed {
  follower: Follower
  handlers: Set<FollowHandlers>
}

export function createLive(deps: LiveDeps): Live {
  const lists = new Map<Id, Followed>()
  const linger = createAlarm()
  let isUp = false

  const guarded = (call: () => unknown): void => {
    try {
      call()
    } catch (error) {
      deps.onHandlerError(error)
    }
  }

  const endAll = (reason: EndReason): void => {
    linger.clear()
    isUp = false
    line.close()
    for (const { follower } of [...lists.values()]) follower.end(reason)
  }

  const line = createLine({
    ...deps,
    onUp() {
      isUp = true
      for (const { follower } of [...lists.values()]) follower.up()
    },
    onDown() {
      isUp = false
      for (const { follower } of [...lists.values()]) follower.down()
    },
    onMessage: (message) => dispatch(lists, message),
    onEnded: endAll,
  })

  const forget = (listId: Id, followed: Followed): void => {
    if (lists.get(listId) !== followed) return
    lists.delete(listId)
    if (lists.size === 0) linger.set(deps.timing.lingerMs, line.close)
  }

  const begin = (listId: Id): Followed => {
    const handlers = new Set<FollowHandlers>()
    const follower = createFollower({
      ...deps,
      listId,
      readList: (signal) => deps.readList(listId, signal),
      send: line.send,
      onState(state, events) {
        for (const handler of [...handlers]) {
          guarded(() => handler.onState?.(state))
          for (const event of events) guarded(() => handlers.has(handler) && handler.onEvent?.(event))
        }
      },
      onStatus(status) {
        for (const handler of [...handlers]) guarded(() => handler.onStatus?.(status))
        if (status.phase === 'ended') forget(listId, followed)
      },
    })
    const followed = { follower, handlers }
    lists.set(listId, followed)
    linger.clear()
    line.open()
    if (isUp) follower.up()
    return followed
  }

  return {
    follow(id, handlers) {
      const listId = id.toLowerCase()
      const followed = lists.get(listId) ?? begin(listId)
      const { follower } = followed
      const mine = { ...handlers }
      const known = follower.state()
      followed.handlers.add(mine)
      // Whoever comes later is told what the others know, after having the handle in hand.
      if (known)
        queueMicrotask(() => {
          if (!followed.handlers.has(mine) || follower.state() !== known) return
          guarded(() => mine.onState?.(known))
          guarded(() => mine.onStatus?.(follower.status()))
        })
      return {
        state: follower.state,
        status: follower.status,
        close() {
          if (!followed.handlers.delete(mine) || followed.handlers.size > 0) return
          if (lists.get(listId) !== followed) return
          follower.close()
          line.send({ type: 'unsubscribe', payload: { list_id: listId }, id: `${listId}#closed` })
          forget(listId, followed)
        },
      }
    },
    wake: line.wake,
    endAll,
  }
}

/** To the list it is about; an error may name it only by the message that it answers. */
function dispatch(lists: Map<Id, Followed>, message: ServerMessage): void {
  if (isEvent(message)) lists.get(message.payload.list_id)?.follower.event(message)
  else {
    const named = 'list_id' in message.payload ? message.payload.list_id : undefined
    lists.get(named ?? message.id?.split('#')[0] ?? '')?.follower.answer(message)
  }
}
