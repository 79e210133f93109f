/**
 * A canary for what src/db/postgres/driver.ts knows of the internals of postgres.js. A server that speaks just enough
 * of PostgreSQL's protocol records what the driver sends, and in which order.
 */
import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import postgres from 'postgres'
import own from '../../../package.json' with { type: 'json' }
import { type Connection, openConnection } from '../../../src/db/postgres/connection.ts'
import { until } from '../../support/until.ts'

const readVersion = '3.4.9'

const recheck = (what: string): string =>
  `postgres.js is no longer what src/db/postgres/driver.ts was written for. Re-check in its src/: ${what}`

let server: FakePostgres
const connections: Connection[] = []
beforeAll(async () => {
  server = await startFakePostgres()
})
afterAll(async () => {
  for (const connection of connections) connection.destroy()
  await server.stop()
})
beforeEach(() => server.reset())

function open(): Connection {
  const connection = openConnection({ url: server.url, settings: {}, connectTimeoutSeconds: 5 })
  connections.push(connection)
  return connection
}

const statement = (text: string, ...parameters: string[]) => ({ text, parameters })

/** The types of postgres.js lack `simple`. */
const prepared = { prepare: true, ...{ simple: false } }

const codeOf = (outcome: PromiseSettledResult<unknown> | undefined): unknown =>
  outcome?.status === 'rejected' ? outcome.reason.code : outcome?.status

const executedTexts = (): string[] =>
  server.sent.filter((entry) => !entry.startsWith('parse ')).map((entry) => entry.replace(/^\w+ /, ''))

/** A postgres.js query object as driver.ts sees it. */
const asRecord = (query: object): Record<string, unknown> => Object.fromEntries(Object.entries(query))

test('the version of postgres.js is the one that driver.ts was read against', async () => {
  const installed = await Bun.file(new URL('../package.json', import.meta.resolve('postgres'))).json()
  const message = recheck(
    'query.js (reject, cancelled, origin, execute), connection.js (createSocket, execute, retry, ReadyForQuery, ' +
      'queryError) and index.js (onopen, handler, end). Then change the version here and in driver.ts.',
  )
  expect(own.dependencies.postgres, message).toBe(readVersion)
  expect(installed.version, message).toBe(readVersion)
})

test('a query has the fields that the guards use or replace', () => {
  const query = postgres(server.url).unsafe('select 1')
  expect(asRecord(query), recheck('the fields `cancelled` and `reject` of Query in query.js')).toMatchObject({
    cancelled: null,
    reject: expect.any(Function),
  })
  expect(query, recheck('the field `retried`, which must be unset on a new Query')).not.toHaveProperty(
    'retried',
  )
  const origin = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(query), 'origin')
  expect(origin?.get, recheck('the getter `origin` of Query in query.js')).toBeFunction()
})

test('the `socket` option is called once, with lists of hosts and ports, and its socket is used as is', async () => {
  const asked: unknown[] = []
  const options = {
    max: 1,
    fetch_types: false,
    socket: async (target: unknown) => {
      asked.push(target)
      const socket = connect(server.port, '127.0.0.1')
      await once(socket, 'connect')
      return socket
    },
  }
  const client = postgres(server.url, options)
  await client.unsafe('select 1')
  await client.end({ timeout: 0 })
  expect(asked, recheck('createSocket and connect in connection.js')).toEqual([
    expect.objectContaining({ host: ['127.0.0.1'], port: [server.port], path: false }),
  ])
})

test('a stale plan is stored in `retried`, and only then is the query sent again', async () => {
  const client = postgres(server.url, { max: 1, fetch_types: false })
  const select = () => client.unsafe('select 1', [], prepared)
  await select()
  server.failNext('select 1', stalePlan)
  server.reset()
  const query = select()
  const executedBefore: number[] = []
  Object.defineProperty(query, 'retried', {
    set: () => executedBefore.push(server.sent.filter((entry) => entry === 'execute select 1').length),
    get: () => undefined,
  })
  await query
  await client.end({ timeout: 0 })
  expect(executedBefore, recheck('retry and ReadyForQuery in connection.js')).toEqual([1])
  expect(server.sent, recheck('retry in connection.js: does it still send the query again?')).toEqual([
    'execute select 1',
    'parse select 1',
    'execute select 1',
  ])
})

test('`origin` is read for a query that fails', async () => {
  const client = postgres(server.url, { max: 1, fetch_types: false })
  server.failNext('select 1', syntaxError)
  const query = client.unsafe('select 1', [], prepared)
  let reads = 0
  Object.defineProperty(query, 'origin', {
    get: () => {
      reads += 1
      return ''
    },
  })
  await query.catch(() => undefined)
  await client.end({ timeout: 0 })
  expect(reads, recheck('queryError in connection.js: does it still read `origin`?')).toBe(1)
})

test('our connection: a stale plan fails the query, which is not sent again', async () => {
  const connection = open()
  await connection.send([statement('select 2')])
  server.failNext('select 2', stalePlan)
  server.reset()
  const settled = await connection.send([
    statement('begin read write'),
    statement('select 2'),
    statement('commit'),
  ])
  expect(
    codeOf(settled[1]),
    recheck('retry and execute in connection.js: are `retried` and `cancelled` heeded?'),
  ).toBe('0A000')
  await connection.send([statement('select 3')])
  expect(server.sent, recheck('execute in connection.js: does it still skip a cancelled query?')).toEqual([
    'query begin read write',
    'execute select 2',
    'query commit',
    'parse select 3',
    'execute select 3',
  ])
})

test('our connection: batches keep their order, whether their statements are prepared yet or not', async () => {
  const connection = open()
  const names = ['one', 'two', 'three']
  const batch = (name: string) => [
    statement('begin read write'),
    statement('select $1', name),
    statement(`select '${name}'`),
    statement('commit'),
  ]
  const expected = names.flatMap((name) => batch(name).map(({ text }) => text))
  for (const round of ['cold', 'warm']) {
    server.reset()
    await Promise.all(names.map((name) => connection.send(batch(name))))
    const message = recheck('handler, go, onopen in index.js and execute, describeFirst in connection.js')
    expect(executedTexts(), `${round}: ${message}`).toEqual(
      round === 'cold' ? ['select 1', ...expected] : expected,
    )
  }
})

test('our connection: batches sent while it connects, and just after, are not interleaved', async () => {
  const batchOf = (index: number) => ['begin read write', `select ${index}`, 'commit']
  // Each round depends on timing; without the gate in connection.ts about half of them fail.
  for (let round = 0; round < 8; round++) {
    server.reset()
    const connection = open()
    const sending: Promise<unknown>[] = []
    let settled = 0
    while (settled < 10) {
      const batch = batchOf(sending.length).map((text) => statement(text))
      sending.push(connection.send(batch).then(() => settled++))
      await setImmediate()
    }
    await Promise.all(sending)
    const executed = executedTexts().slice(1)
    const order = executed.flatMap((text) => text.match(/(?<=^select )\d+/) ?? []).map(Number)
    expect(order.toSorted((one, other) => one - other)).toEqual(sending.map((_, index) => index))
    expect(executed, recheck('onopen and handler in index.js')).toEqual(order.flatMap(batchOf))
  }
})

test('our connection: control statements are simple queries, others are parsed once', async () => {
  const connection = open()
  for (let round = 0; round < 2; round++)
    await connection.send([statement('begin read write'), statement('select 4'), statement('commit')])
  const message = recheck(
    'unsafe in index.js, build and toBuffer in connection.js: `simple`, `prepare`, `fetch_types`',
  )
  expect(server.sent, message).toEqual([
    'parse select 1',
    'execute select 1',
    'query begin read write',
    'parse select 4',
    'execute select 4',
    'query commit',
    'query begin read write',
    'execute select 4',
    'query commit',
  ])
})

test('our connection: rows are a plain array, without the secret of the session', async () => {
  const [outcome] = await open().send([statement('select 1')])
  const rows = outcome?.status === 'fulfilled' ? outcome.value.rows : null
  expect(Object.getPrototypeOf(rows), recheck('Symbol.species in result.js')).toBe(Array.prototype)
  expect(Object.getOwnPropertyNames(rows)).toEqual(['0', 'length'])
})

test('our connection: once lost it is not reopened', async () => {
  const connection = open()
  await connection.send([statement('select 1')])
  server.cut()
  await until(() => !connection.alive, 'the loss')
  const [outcome] = await connection.send([statement('select 1')])
  const message = recheck('closed in connection.js, onclose and end in index.js')
  expect(codeOf(outcome), message).toBe('CONNECTION_ENDED')
  expect(server.accepted, message).toBe(1)
})

test('our connection: destroying it fails outstanding queries', async () => {
  const connection = open()
  await connection.send([statement('select 1')])
  server.mute()
  const sending = connection.send([statement('select 1'), statement('select 5')])
  connection.destroy()
  const message = recheck('end and destroy in index.js, terminate in connection.js')
  expect((await sending).map(codeOf), message).toEqual(['CONNECTION_DESTROYED', 'CONNECTION_DESTROYED'])
})

interface ServerError {
  code: string
  routine: string
}
const stalePlan: ServerError = { code: '0A000', routine: 'RevalidateCachedQuery' }
const syntaxError: ServerError = { code: '42601', routine: 'scanner_yyerror' }

interface FakePostgres {
  readonly url: string
  readonly port: number
  /** `query TEXT` for a simple query, `parse TEXT` and `execute TEXT` for the extended protocol. */
  readonly sent: string[]
  /** Connections since the last reset. */
  readonly accepted: number
  /** Fails the next execution of `text`. */
  failNext(text: string, error: ServerError): void
  /** Clears the recording. */
  reset(): void
  /** Sends nothing until the next reset. */
  mute(): void
  /** Closes all connections. */
  cut(): void
  stop(): Promise<void>
}

async function startFakePostgres(): Promise<FakePostgres> {
  const sent: string[] = []
  const failures = new Map<string, ServerError>()
  const sockets = new Set<Socket>()
  const state = { accepted: 0, isMute: false }
  const listener = createServer((socket) => {
    state.accepted += 1
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    const answer = createBackend(sent, failures)
    let received: Buffer = Buffer.alloc(0)
    let isStarted = false
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      for (;;) {
        const typeLength = isStarted ? 1 : 0
        if (received.length < typeLength + 4) return
        const end = typeLength + received.readUInt32BE(typeLength)
        if (received.length < end) return
        const type = isStarted ? String.fromCharCode(received[0] ?? 0) : 'startup'
        const reply = answer(type, received.subarray(typeLength + 4, end))
        received = received.subarray(end)
        isStarted = true
        if (!state.isMute) socket.write(reply)
      }
    })
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const address = listener.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const { port } = address
  return {
    url: `postgres://someone@127.0.0.1:${port}/anything`,
    port,
    sent,
    get accepted() {
      return state.accepted
    },
    failNext: (text, error) => failures.set(text, error),
    reset: () => {
      sent.length = 0
      Object.assign(state, { accepted: 0, isMute: false })
    },
    mute: () => {
      state.isMute = true
    },
    cut: () => {
      for (const socket of sockets) socket.destroy()
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy()
      listener.close()
      await once(listener, 'close')
    },
  }
}

const int16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}
const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}
const cString = (value: string): Buffer => Buffer.from(`${value}\0`)
const message = (type: string, ...parts: Buffer[]): Buffer => {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body])
}
const textOid = 25
const rowDescription = message(
  'T',
  int16(1),
  cString('value'),
  int32(0),
  int16(0),
  int32(textOid),
  int16(-1),
  int32(-1),
  int16(0),
)
const dataRow = message('D', int16(1), int32(1), Buffer.from('1'))
const ready = message('Z', Buffer.from('I'))
const nothing = Buffer.alloc(0)

/** One session: answers a frontend message, given without its type and length. */
function createBackend(sent: string[], failures: Map<string, ServerError>) {
  const parsed = new Map<string, string>()
  let bound = ''
  let isSkipping = false

  const answers: Record<string, (fields: string[]) => Buffer> = {
    startup: () => Buffer.concat([message('R', int32(0)), ready]),
    Q: ([text = '']) => {
      sent.push(`query ${text}`)
      return Buffer.concat([message('C', cString(text.split(' ')[0]?.toUpperCase() ?? '')), ready])
    },
    P: ([name = '', text = '']) => {
      sent.push(`parse ${text}`)
      parsed.set(name, text)
      return message('1')
    },
    D: ([name = '']) => {
      const count = parsed.get(name.slice(1))?.match(/\$\d/g)?.length ?? 0
      return Buffer.concat([
        message('t', int16(count), ...Array.from({ length: count }, () => int32(textOid))),
        rowDescription,
      ])
    },
    B: ([, name = '']) => {
      bound = parsed.get(name) ?? ''
      return message('2')
    },
    E: () => {
      sent.push(`execute ${bound}`)
      const failure = failures.get(bound)
      failures.delete(bound)
      if (failure === undefined) return Buffer.concat([dataRow, message('C', cString('SELECT 1'))])
      isSkipping = true
      return message(
        'E',
        cString(`C${failure.code}`),
        cString('Mmade up'),
        cString(`R${failure.routine}`),
        Buffer.from([0]),
      )
    },
    S: () => {
      isSkipping = false
      return ready
    },
  }
  return (type: string, body: Buffer): Buffer =>
    isSkipping && type !== 'S' ? nothing : (answers[type]?.(body.toString('latin1').split('\0')) ?? nothing)
}
