/**
 * Lists and items whose ids exist in both tenants. The same steps run on them and on a list that only this tenant has,
 * and must get the same answers.
 */
import type { Person } from '../../support/people.ts'
import { openSocket } from '../../support/socket.ts'
import { until } from '../../support/until.ts'
import { type Attempt, ask, masked, type Outcome } from './attack.ts'
import type { Half, ListIds, Mirror, Role } from './mirror.ts'

type Ask = (as: Role, request: string, body?: object) => Promise<string>

interface Steps {
  listIds: ListIds
  people: Record<Role, Person>
  ask: Ask
}

/** Each leaves its list as it found it, except for counters. */
const scenarios: Record<string, (steps: Steps) => Promise<unknown>> = {
  ...Object.fromEntries(
    ['', '/items', '/items?status=purchased', '/members', '/events', '/events?since=2'].map((part) => [
      `reading it${part}`,
      async ({ ask, listIds: { list } }: Steps) => {
        for (const as of ['owner', 'admin', 'outsider'] as const)
          await ask(as, `GET /shopping-lists/${list}${part}`)
      },
    ]),
  ),
  'paging through it': async ({ ask, listIds: { list } }) => {
    for (const part of ['items', 'members']) {
      const first = JSON.parse(await ask('editor', `GET /shopping-lists/${list}/${part}?limit=1`))
      await ask('editor', `GET /shopping-lists/${list}/${part}?limit=100&cursor=${first.next_cursor}`)
    }
  },
  'renaming it': async ({ ask, listIds: { list } }) => {
    for (const name of ['Other', 'Same']) await ask('owner', `PATCH /shopping-lists/${list}`, { name })
    await ask('editor', `PATCH /shopping-lists/${list}`, { name: 'Not mine' })
  },
  'deleting and restoring it': async ({ ask, listIds: { list } }) => {
    await ask('owner', `DELETE /shopping-lists/${list}`)
    await ask('editor', `GET /shopping-lists/${list}`)
    await ask('admin', `POST /shopping-lists/${list}/restore`)
  },
  'making what is there or was': async ({ ask, listIds: { list, item, deletedItem, deletedList } }) => {
    for (const id of [list, deletedList])
      for (const as of ['owner', 'editor', 'outsider'] as const)
        await ask(as, 'POST /shopping-lists', { id, name: 'Again' })
    for (const id of [item, deletedItem])
      for (const as of ['owner', 'editor'] as const)
        await ask(as, `POST /shopping-lists/${list}/items`, { id, name: 'Again' })
  },
  'changing items': async ({ ask, listIds: { item, bought, deletedItem } }) => {
    for (const status of ['purchased', 'pending']) await ask('editor', `PATCH /items/${item}`, { status })
    for (const note of ['n', null]) await ask('owner', `PATCH /items/${bought}`, { note })
    await ask('viewer', `PATCH /items/${item}`, { note: 'x' })
    await ask('owner', `PATCH /items/${deletedItem}`, { note: 'x' })
    await ask('owner', `DELETE /items/${deletedItem}`)
  },
  'adding and deleting items': async ({ ask, listIds: { list } }) => {
    const added = JSON.parse(
      await ask('editor', `POST /shopping-lists/${list}/items`, {
        items: [{ name: 'Tea' }, { name: 'Rice' }],
      }),
    )
    for (const { id } of added.data) await ask('editor', `DELETE /items/${id}`)
  },
  'clearing what is purchased': async ({ ask, listIds: { list, bought } }) => {
    await ask('editor', `PATCH /items/${bought}`, { status: 'pending' })
    const added = JSON.parse(await ask('editor', `POST /shopping-lists/${list}/items`, { name: 'Salt' }))
    await ask('editor', `PATCH /items/${added.id}`, { status: 'purchased' })
    await ask('editor', `POST /shopping-lists/${list}/items/clear-purchased`)
    await ask('editor', `PATCH /items/${bought}`, { status: 'purchased' })
  },
  'changing roles and handing it over': async ({ ask, listIds: { list }, people }) => {
    const member = (role: Role) => `PATCH /shopping-lists/${list}/members/${people[role].id}`
    for (const role of ['editor', 'viewer']) await ask('owner', member('viewer'), { role })
    await ask('owner', member('editor'), { role: 'owner' })
    await ask('admin', member('owner'), { role: 'owner' })
    await ask('outsider', member('viewer'), { role: 'owner' })
  },
  'leaving and being invited': async ({ ask, listIds: { list }, people }) => {
    const invite = async (): Promise<object> => {
      const body = { email: people.viewer.email, role: 'viewer' }
      const { token } = JSON.parse(await ask('owner', `POST /shopping-lists/${list}/invite`, body))
      return { token }
    }
    await invite()
    for (const as of ['viewer', 'owner'] as const) {
      await ask(as, `DELETE /shopping-lists/${list}/members/${people.viewer.id}`)
      await ask('viewer', 'POST /invitations/reject', await invite())
      const invitation = await invite()
      for (const step of ['preview', 'accept', 'preview'])
        await ask('viewer', `POST /invitations/${step}`, invitation)
    }
  },
  'finding it among all': async ({ ask, listIds: { list, deletedList } }) => {
    for (const as of ['owner', 'admin'] as const)
      for (const query of ['', 'scope=all', 'deleted=true', 'deleted=true&scope=all'])
        await ask(as, `GET /shopping-lists?limit=100&${query} ${list} ${deletedList}`)
  },
}

export const twinAttempts = (mirror: Mirror): Attempt[] => [
  ...Object.entries(scenarios).map(([name, scenario]) => ({
    name: `${name}, its id being theirs too`,
    foreign: () => take(mirror, mirror.mine.twin, scenario),
    control: () => take(mirror, mirror.mine.single, scenario),
    alone: true,
  })),
  {
    name: 'following it, its id being theirs too',
    foreign: () => follow(mirror, mirror.mine.twin),
    control: () => follow(mirror, mirror.mine.single),
    alone: true,
  },
]

async function take(
  { server, mine }: Mirror,
  listIds: ListIds,
  scenario: (steps: Steps) => Promise<unknown>,
): Promise<Outcome> {
  const answers: string[] = []
  const made: Record<string, string> = {}
  const asked: Ask = async (as, request, body) => {
    const [method = '', path = '', ...only] = request.split(' ')
    const answer = await ask(server, mine.people[as], { method, path: `/api/v1${path}`, body }, {})
    nameNew(mine, answer.body, made)
    answers.push(
      `${as} ${request} ${only.length > 0 && answer.status === 200 ? entries(answer.body, only) : answer.text}`,
    )
    return answer.body
  }
  await scenario({ listIds, people: mine.people, ask: asked })
  const aims = { ...byName(made), ...listIds }
  return { code: '', text: masked(answers.join('\n'), { ...aims, ...cursorsIn(answers) }) }
}

/** Names newly made things by order of appearance, as their ids are random. */
function nameNew(half: Half, text: string, made: Record<string, string>): void {
  const known = new Set([
    ...Object.values(half.people).map(({ id }) => id),
    ...[half.own, half.twin, half.single].flatMap((listIds) => Object.values(listIds)),
  ])
  for (const [, id = ''] of text.matchAll(/"(?:id|item_id)": ?"([^"]+)"/g))
    if (!known.has(id)) made[id] ??= `made ${Object.keys(made).length}`
}

const byName = (made: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(made).map(([id, name]) => [name, id]))

const cursorsIn = (answers: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    answers.flatMap((line) => /cursor=(\S+)/.exec(line)?.[1] ?? []).map((cursor, at) => [`c${at}`, cursor]),
  )

/** A page's entries with these ids. */
const entries = (body: string, ids: readonly string[]): string =>
  JSON.stringify(JSON.parse(body).data.filter(({ id }: { id: string }) => ids.includes(id)))

/** Subscribes from the first event to the current one. */
async function follow({ server, mine }: Mirror, listIds: ListIds): Promise<Outcome> {
  const { list } = listIds
  const socket = await openSocket(server, mine.people.viewer.accessToken)
  const { payload } = await socket.follow(list, 0)
  await until(() => socket.seqs(list).length >= payload.seq, 'all events', 10_000)
  socket.send('unsubscribe', { list_id: list })
  await socket.next('unsubscribed')
  socket.close()
  const answers = JSON.stringify(socket.messages.filter(({ type }) => type !== 'connected'))
  const made: Record<string, string> = {}
  nameNew(mine, answers, made)
  return { code: '', text: masked(answers, { ...byName(made), ...listIds }) }
}
