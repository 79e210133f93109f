/**
 * For one release, on a database that was upgraded: the channels of the release before, whose instances may still run
 * beside this one. They are sent what they expect. Anybody can write to those channels, so what they publish is only
 * taken as a hint that the database has something new. To be removed with Installation.isUpgraded.
 */
import type { ListKey } from '../features/list-changes/events.ts'
import type { Logger } from '../log.ts'
import { topicOf } from './broker.ts'
import { type Message, messageText, readMessage } from './broker-messages.ts'

export const olderChannelOf = (list: ListKey): string => `minimart:${topicOf(list)}`

/** The release before ignores the mark. */
export const olderText = (message: Message): string => messageText({ ...message, ...mark })

const mark = { sealed: true }

/** The list that an instance of the release before has changed; null for any other text, and for our own messages. */
export function hintIn(text: string): ListKey | null {
  const message = readMessage(text)
  return message === null || 'sealed' in message ? null : message.list
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
