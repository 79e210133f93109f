/**
 * Writes again and again, in the ways the contract makes safe to repeat: client-chosen ids for additions, the known
 * version for changes. A write is repeated, wherever the balancer sends it, until it is acknowledged.
 */
import { isRecord } from '../../support/json-schema.ts'
import type { Write } from './recorder.ts'
import { type Answer, createRequests, type RequestOptions } from './requests.ts'

export interface Writer {
  /** Finishes the current write, or gives up at the deadline. */
  stop(deadlineMs: number): Promise<void>
}

export interface WriterOptions extends RequestOptions {
  name: string
  /** Between two writes, at most. */
  pauseMs?: number
  listIds: readonly [string, ...string[]]
}

interface OwnItem {
  id: string
  listId: string
  version: number
}

const maxOwnItems = 60
const maxBulk = 8
const usualPauseMs = 20

export function startWriter(options: WriterOptions): Writer {
  const { name, listIds, random, recorder, pauseMs = usualPauseMs } = options
  const requests = createRequests(options)
  const { insist } = requests
  const own: OwnItem[] = []
  let stopping = false
  let count = 0

  const acknowledge = (writes: Write[], answer: Answer | null, ...fine: number[]): boolean => {
    if (!answer) return false
    const good = fine.includes(answer.status)
    if (good) for (const write of writes) write.acknowledged = true
    else
      recorder.problem(`${name}: ${writes[0]?.kind} answered ${answer.status} ${String(answer.body['code'])}`)
    return good
  }

  const add = async (listId: string, size: number): Promise<void> => {
    const items = Array.from({ length: size }, () => ({ id: Bun.randomUUIDv7(), name: `${name} ${++count}` }))
    const writes = items.map((item) =>
      recorder.begin({ kind: 'add', listId, itemId: item.id, name: item.name }),
    )
    const answer = await insist('POST', `/shopping-lists/${listId}/items`, size === 1 ? items[0] : { items })
    if (acknowledge(writes, answer, 200, 201))
      own.push(...items.map(({ id }) => ({ id, listId, version: 1 })))
  }

  const change = async (item: OwnItem): Promise<void> => {
    const next = `${name} ${++count}`
    const write = recorder.begin({ kind: 'change', listId: item.listId, itemId: item.id, name: next })
    const body = {
      name: next,
      ...(random.chance(0.3) ? { status: random.pick(['purchased', 'pending']) } : {}),
    }
    const answer = await insist('PATCH', `/items/${item.id}`, body, `"${item.version}"`)
    const current = answer?.body['current']
    // An earlier attempt succeeded, but its response was lost.
    const doneBefore = answer?.status === 412 && isRecord(current) && current['name'] === next
    if (acknowledge([write], answer, 200, ...(doneBefore ? [412] : []))) item.version++
  }

  const remove = async (item: OwnItem): Promise<void> => {
    own.splice(own.indexOf(item), 1)
    const { id: itemId, listId } = item
    const write = recorder.begin({ kind: 'delete', listId, itemId, name: '' })
    const before = recorder.retries
    const answer = await insist('DELETE', `/items/${itemId}`, undefined)
    acknowledge([write], answer, 204, ...(recorder.retries > before ? [404] : []))
  }

  const write = async (): Promise<void> => {
    const [first, ...others] = own
    const listId = random.pick(listIds)
    const what = random.next()
    if (first && own.length > maxOwnItems) return remove(first)
    if (first && what < 0.35) return change(random.pick([first, ...others]))
    if (first && what < 0.45) return remove(random.pick([first, ...others]))
    if (what < 0.47)
      return void (await insist('PATCH', `/shopping-lists/${listId}`, { name: `List ${++count}` }))
    return add(listId, what < 0.55 ? random.between(2, maxBulk) : 1)
  }

  const work = (async () => {
    while (!stopping) {
      await write()
      await Bun.sleep(random.between(0, pauseMs))
    }
  })()

  return {
    async stop(deadlineMs) {
      stopping = true
      requests.giveUpIn(deadlineMs)
      await work
    },
  }
}
