/**
 * For one release, on a database that was upgraded: the channels of the release before, whose instances may still run
 * beside this one. They are sent what they expect. Anybody can write to those channels, so what they publish is only
 * taken as a hint that the database has something new. To be removed with Installation.isUpgraded.
 */
import { Type } from '@sinclair/typebox'
import type { ListKey } from '../features/list-changes/events.ts'
import { jsonReader } from '../lib/json.ts'
import type { Logger } from '../log.ts'
import { topicOf } from './broker.ts'
import { type Message, messageText } from './broker-messages.ts'

export const olderChannelOf = (list: ListKey): string => `minimart:${topicOf(list)}`

/** The release before ignores the mark. */
export const olderText = (message: Message): string => messageText({ ...message, ...mark })

const mark = { sealed: true }

/** Of its messages no more than that: their events lack what this release adds to its own. */
const readHint = jsonReader(
  Type.Object({
    list: Type.Object({ tenantId: Type.String(), listId: Type.String() }),
    sealed: Type.Optional(Type.Boolean()),
  }),
)

/** The list that an instance of the release before has changed; null for any other text, and for our own messages. */
export function hintIn(text: string): ListKey | null {
  const hint = readHint(text)
  return hint === null || hint.sealed === true ? null : hint.list
}

const pauseMs = 50

/** Has lists compared with the database, together and one comparison at a time, however often they are hinted at. */
export function createHints(
  log: Logger,
  compare: (lists: readonly ListKey[]) => Promise<void>,
): (list: ListKey) => void {
  const waiting = new Map<string, ListKey>()
  let isRunning = false
  const run = async (): Promise<void> => {
    while (waiting.size > 0) {
      const lists = [...waiting.values()]
      waiting.clear()
      // The periodic comparison follows in any case.
      await compare(lists).catch((error: unknown) => log.debug('a hint could not be followed', { error }))
      await Bun.sleep(pauseMs)
    }
    isRunning = false
  }
  return (list) => {
    waiting.set(topicOf(list), list)
    if (isRunning) return
    isRunning = true
    void run()
  }
}
