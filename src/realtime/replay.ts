/**
 * Subscribing without a race and without a buffer: what the database holds after the client's cursor is sent until the
 * cursor is where the stream stands, and in that same synchronous step the client joins the topic. Nothing can fall
 * between, and nothing comes twice.
 */

import type { Actor } from '../access/actor.ts'
import type { Database } from '../db/database.ts'
import { AppError } from '../errors.ts'
import type { ListKey } from '../features/list-changes/events.ts'
import { findSeq, readEvents } from './event-log.ts'
import { endsFor, type Hub, type Subscription } from './hub.ts'
import { encode } from './protocol.ts'

export interface Replayed {
  isGone(): boolean
  writable(): Promise<void>
  send(text: string): void
  /** The last number it was sent while it follows the list already, else 0. */
  heard(): number
  /** `subscribed`. What it followed of the list before ends with it. */
  answer(message: Parameters<typeof encode>[0]): void
  /** Called when the client has everything up to the stream's head. Must not wait. */
  join(subscription: Subscription): void
  leave(subscription: Subscription): void
}

/** @param since the last number the client has seen; undefined when it starts from what it read elsewhere */
export async function replay(
  { db, hub }: { db: Database; hub: Hub },
  actor: Actor,
  list: ListKey,
  since: number | undefined,
  client: Replayed,
): Promise<'joined' | 'ended' | 'not_found'> {
  if ((await findSeq(db, actor, list.listId)) === null) return 'not_found'
  const subscription = await hub.open(list)
  let joined = false
  try {
    // Asked again now that the stream listens: at this number the actor could see the list.
    const found = await findSeq(db, actor, list.listId)
    if (found === null) return 'not_found'
    // What it heard in the meantime is not to come again.
    const seq = Math.max(found, client.heard())
    let cursor = since ?? seq
    const first = since === undefined || since > seq ? null : await readEvents(db, list, since)
    const recovered = first !== null && !first.expired
    client.answer({ type: 'subscribed', payload: { list_id: list.listId, seq, recovered } })
    const resync = (at: number): void => {
      cursor = at
      client.send(encode({ type: 'resync_required', payload: { list_id: list.listId, seq: at } }))
    }
    const end = (): 'ended' => {
      if (!client.isGone()) client.send(encode({ type: 'unsubscribed', payload: { list_id: list.listId } }))
      return 'ended'
    }
    if (since !== undefined && !recovered) resync(seq)
    let page = recovered ? first : null
    while (!client.isGone()) {
      for (const event of page?.events ?? []) {
        await client.writable()
        if (client.isGone()) return 'ended'
        client.send(event.text)
        cursor = event.seq
        // Before `seq` he may have left and come back; after it, this is the end.
        if (event.seq > seq && endsFor(event, actor.userId)) return end()
      }
      await client.writable()
      if (client.isGone()) return 'ended'
      const head = subscription.stream.head()
      if (head === cursor) {
        client.join(subscription)
        joined = true
        return 'joined'
      }
      if (head < cursor) await patiently(client, () => subscription.stream.reach(cursor))
      page = head < cursor ? null : await patiently(client, () => readEvents(db, list, cursor))
      if (page?.expired) {
        // His own end may be among what is lost.
        if ((await patiently(client, () => findSeq(db, actor, list.listId))) === null) return end()
        resync(page.seq)
        page = null
      }
    }
    return 'ended'
  } finally {
    if (!joined) client.leave(subscription)
  }
}

const retryMs = 500

/** Once told `subscribed`, the client counts on what follows: a database that is away is waited for. */
async function patiently<T>(client: Replayed, read: () => Promise<T>): Promise<T | null> {
  while (!client.isGone()) {
    try {
      return await read()
    } catch (error) {
      if (!(error instanceof AppError)) throw error
    }
    await Bun.sleep(retryMs)
  }
  return null
}
