/**
 * One list, followed: its snapshot, then its events in order on top. Whatever is lost on the way shows as a gap in
 * `seq` and is asked for again; where the server no longer has it, a new snapshot takes the old one's place.
 */
import type { ListState, Self } from './apply.ts'
import { isMiniMartError } from './error.ts'
import type { ClientMessage, ListEvent, ServerAnswer } from './messages.ts'
import { createReplica } from './replica.ts'
import { type EndReason, endingOf, type FollowStatus, farewellOf } from './status.ts'
import { backoffMs, createAlarm } from './timing.ts'
import type { Id, ListDetail } from './types.ts'

export interface FollowerDeps {
  listId: Id
  readList: (signal: AbortSignal) => Promise<ListDetail>
  send: (message: ClientMessage) => boolean
  self: () => Self
  random: () => number
  timing: { answerMs: number; firstRetryMs: number; maxRetryMs: number }
  onState(state: ListState, events: readonly ListEvent[]): void
  onStatus(status: FollowStatus): void
}

export interface Follower {
  state(): ListState | null
  status(): FollowStatus
  up(): void
  down(): void
  event(event: ListEvent): void
  answer(message: ServerAnswer): void
  end(reason: EndReason): void
  /** Nobody looks any more: nothing is called from here on. */
  close(): void
}

export function createFollower(deps: FollowerDeps): Follower {
  const { listId, self } = deps
  const replica = createReplica(self, deps.onState)
  let status: FollowStatus = { phase: 'syncing' }
  /** Offline is only what has been tried. */
  let link: 'opening' | 'up' | 'down' = 'opening'
  let subscribed = false
  /** The id of the subscribe message that has no answer yet. */
  let asked: string | null = null
  let askedCount = 0
  /** The number that everything is known up to when this is live. */
  let target = 0
  let failures = 0
  /** Where a gap was last asked for: one that is still there is bridged by a new snapshot. */
  let mendedAt = -1
  /** What the last event says about whether the caller may hear more. */
  let farewell: EndReason | null = null
  const [retry, loadRetry] = [createAlarm(), createAlarm()]
  const aborter = new AbortController()

  const isEnded = (): boolean => status.phase === 'ended' || aborter.signal.aborted
  const pauseMs = (): number => {
    const { firstRetryMs: firstMs, maxRetryMs: maxMs } = deps.timing
    return backoffMs(failures++, { firstMs, maxMs, random: deps.random })
  }

  const tell = (next: FollowStatus): void => {
    if (status.phase === next.phase) return
    status = next
    deps.onStatus(status)
  }

  const look = (): void => {
    if (isEnded()) return
    const isLive = subscribed && !replica.isWaiting() && replica.head() >= target
    if (isLive) {
      failures = 0
      replica.flush()
    }
    tell({ phase: isLive ? 'live' : link === 'down' ? 'offline' : 'syncing' })
  }

  const subscribe = (): void => {
    if (link !== 'up' || replica.isWaiting() || isEnded()) return
    replica.flush()
    subscribed = false
    asked = `${listId}#${++askedCount}`
    deps.send({ type: 'subscribe', payload: { list_id: listId, since: replica.head() }, id: asked })
    retry.set(deps.timing.answerMs, () => {
      asked = null
      subscribe()
    })
    look()
  }

  const subscribeLater = (): void => {
    asked = null
    subscribed = false
    retry.set(pauseMs(), subscribe)
    look()
  }

  const load = (): void => {
    replica.awaitSnapshot()
    deps.readList(aborter.signal).then(arrive, (error: unknown) => {
      if (isEnded()) return
      const known = isMiniMartError(error) ? endingOf(error.status) : null
      if (known) end(known)
      else loadRetry.set(pauseMs(), load)
    })
  }

  const arrive = (detail: ListDetail): void => {
    if (isEnded()) return
    const isWhole = replica.replace(detail)
    if (asked === null && (!isWhole || !subscribed || replica.head() < target)) subscribe()
    look()
  }

  const mend = (): void => {
    if (asked !== null || replica.isWaiting()) return
    if (mendedAt === replica.head()) load()
    else {
      mendedAt = replica.head()
      subscribe()
    }
  }

  const answers = {
    subscribed({ id, payload }: Extract<ServerAnswer, { type: 'subscribed' }>) {
      if (id !== asked) return
      asked = null
      retry.clear()
      subscribed = true
      target = payload.seq
      look()
    },
    resync({ payload }: Extract<ServerAnswer, { type: 'resync_required' }>) {
      target = payload.seq
      if (!replica.isWaiting()) load()
      look()
    },
    unsubscribed({ id }: Extract<ServerAnswer, { type: 'unsubscribed' }>) {
      // An answer to a message of ours; only what comes unasked is news.
      if (id !== undefined) return
      replica.flush()
      const staysVisible = farewell !== 'deleted' && self().isTenantAdmin
      if (farewell && !staysVisible) end(farewell)
      else subscribeLater()
    },
    error({ id, payload }: Extract<ServerAnswer, { type: 'error' }>) {
      if (id !== asked) return
      if (payload.code === 'not_found') end('not_found')
      else if (payload.code === 'too_many_subscriptions') end('too_many_lists')
      else subscribeLater()
    },
  }

  const stop = (): void => {
    retry.clear()
    loadRetry.clear()
    aborter.abort(new Error('no longer followed'))
  }

  const end = (reason: EndReason): void => {
    if (isEnded()) return
    replica.flush()
    tell({ phase: 'ended', reason })
    stop()
  }

  load()
  return {
    state: replica.state,
    status: () => status,
    up() {
      link = 'up'
      subscribe()
      look()
    },
    down() {
      replica.flush()
      link = 'down'
      subscribed = false
      asked = null
      retry.clear()
      look()
    },
    event(event) {
      if (isEnded()) return
      farewell = farewellOf(event, self())
      if (!replica.take(event)) mend()
      look()
    },
    answer(message) {
      if (isEnded()) return
      if (message.type === 'subscribed') answers.subscribed(message)
      else if (message.type === 'resync_required') answers.resync(message)
      else if (message.type === 'unsubscribed') answers.unsubscribed(message)
      else if (message.type === 'error') answers.error(message)
    },
    end,
    close: stop,
  }
}
