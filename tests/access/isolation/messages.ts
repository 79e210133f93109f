/** Every field of every client message on the socket × every kind of foreign id × every role. */
import { openSocket, type SocketMessage, type TestSocket } from '../../support/socket.ts'
import { until } from '../../support/until.ts'
import { type Attempt, masked, type Outcome } from './attack.ts'
import { foreignIds, type Mirror, type Role } from './mirror.ts'

type Make = (mirror: Mirror) => { what: string; foreign: string; control: string; expected: string }[]

interface Case {
  payload: (value: string) => object
  values: Make
}

const ids =
  (expected: string): Make =>
  ({ theirs }) =>
    Object.entries(foreignIds(theirs)).map(([what, foreign]) => ({
      what,
      foreign,
      control: Bun.randomUUIDv7(),
      expected,
    }))

const following = (since?: number) => (value: string) =>
  since === undefined ? { list_id: value } : { list_id: value, since }

/** Keyed by message and field; a field without a case fails the suite. */
const cases: Record<string, Case[]> = {
  'subscribe list_id': [{ payload: following(), values: ids('not_found') }],
  'subscribe since': [0, 3, 999].map((since) => ({
    payload: following(since),
    values: (mirror: Mirror) => ids('not_found')(mirror).filter(({ what }) => /list/.test(what)),
  })),
  'unsubscribe list_id': [{ payload: following(), values: ids('unsubscribed') }],
  'authenticate token': [
    {
      payload: (token) => ({ token }),
      values: ({ theirs: { people, invitation } }) =>
        Object.entries({
          access: people.owner.accessToken,
          refresh: people.owner.refreshToken,
          invitation,
        }).map(([what, foreign]) => ({ what, foreign, control: 'no.such.token', expected: 'token_invalid' })),
    },
  ],
  // Has no fields.
  ping: [],
}

export const casesOfMessages = (): string[] => Object.keys(cases)

export interface SocketAttempts {
  attempts: Attempt[]
  /** Messages beyond the answers; there must be none. */
  strayMessages(): Promise<string[]>
}

/** Uses one socket per role. */
export async function messageAttempts(mirror: Mirror, as: readonly Role[]): Promise<SocketAttempts> {
  const sockets: TestSocket[] = []
  const made = as.map(async (role) => {
    const socket = await openSocket(mirror.server, mirror.mine.people[role].accessToken)
    sockets.push(socket)
    return Object.entries(cases).flatMap(([field, each]) =>
      each.flatMap(({ payload, values }) =>
        values(mirror).map(({ what, foreign, control, expected }): Attempt => {
          const [type = ''] = field.split(' ')
          const ask = (value: string) => send(socket, type, payload(value), { value })
          return {
            name: `${type} ${JSON.stringify(payload(`their ${what}`))} as ${role}`,
            expected,
            foreign: () => ask(foreign),
            control: () => ask(control),
          }
        }),
      ),
    )
  })
  return {
    attempts: (await Promise.all(made)).flat(),
    strayMessages: async () => {
      await Promise.all(sockets.map((socket) => socket.settled()))
      return sockets
        .flatMap(({ messages }) => messages)
        .filter(({ type, id }) => type !== 'connected' && id === undefined)
        .map((message) => JSON.stringify(message))
    },
  }
}

async function send(
  socket: TestSocket,
  type: string,
  payload: object,
  aims: Record<string, string>,
): Promise<Outcome> {
  const id = crypto.randomUUID()
  socket.send(type, payload, id)
  const answer = await until(
    () => socket.messages.find((message) => message.id === id),
    `an answer to ${type}`,
  )
  return { code: codeOf(answer), text: masked(JSON.stringify({ ...answer, id: '-' }), aims) }
}

const codeOf = ({ type, payload }: SocketMessage): string => (type === 'error' ? payload.code : type)
