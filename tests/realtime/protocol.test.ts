/** The protocol's schemas are pinned to its version, and its document is generated from them. */

import { beforeAll, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { Item } from '../../src/features/items/model.ts'
import { List, Member } from '../../src/features/lists/model.ts'
import { namedSchemas } from '../../src/http/docs/openapi-document.ts'
import { asyncapiDocument } from '../../src/realtime/asyncapi.ts'
import {
  ClientMessage,
  closeCodes,
  errorCodes,
  parseClientMessage,
  protocolVersion,
  ServerMessage,
} from '../../src/realtime/protocol.ts'
import { isRecord, resolveRef, schemaFaults } from '../support/json-schema.ts'
import { addItem, join, makeList, makeTenant, makeUser } from '../support/people.ts'
import { describeService, sharedServer, type TestServer } from '../support/server.ts'
import { openSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

const hashOf = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex')

/** A schema without its texts, which may change freely; its form may not. */
const formOf = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(formOf)
  if (!isRecord(value)) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, part]) =>
      key === 'description' && typeof part === 'string' ? [] : [[key, formOf(part)]],
    ),
  )
}

test('every message has the form of protocol version 1', () => {
  expect(protocolVersion).toBe(1)
  // Changed on purpose? If old clients still understand it, pin the new hash; otherwise it is version 2.
  expect(hashOf(formOf([ClientMessage, ServerMessage]))).toBe(
    '02e1ef595301c5dc0cd6d5105b51fc1350871e5c0721c219ca68c098732ed7ec',
  )
})

test('error and close codes are those that clients know', () => {
  expect([...errorCodes]).toEqual([
    ...(['invalid_message', 'unknown_type', 'token_invalid', 'not_found', 'too_many_subscriptions'] as const),
    ...(['rate_limited', 'unavailable'] as const),
  ])
  expect(
    Object.values(closeCodes)
      .map(({ code }) => Number(code))
      .toSorted(),
  ).toEqual([1012, 4001, 4003, 4008, 4010, 4013])
})

test('a refusal never echoes what was sent', () => {
  const secret = 'eyJhbGciOiJIUzI1NiJ9'
  for (const text of [
    secret,
    `{"type":"${secret}"}`,
    `{"type":"authenticate","payload":{"token":["${secret}"]}}`,
  ])
    expect(JSON.stringify(parseClientMessage(text))).not.toContain(secret)
})

const titles = (union: { anyOf: readonly { title?: string }[] }): string[] =>
  union.anyOf.map(({ title }) => String(title))

const document = asyncapiDocument('1.2.3', namedSchemas([Item, List, Member]))

function* referencesIn(value: unknown): Generator<string> {
  if (Array.isArray(value)) for (const part of value) yield* referencesIn(part)
  else if (isRecord(value))
    for (const [key, part] of Object.entries(value))
      if (key === '$ref' && typeof part === 'string') yield part
      else yield* referencesIn(part)
}

const record = (value: unknown): Record<string, unknown> => {
  if (!isRecord(value)) throw new Error(`${JSON.stringify(value)} is not an object`)
  return value
}

test('the document lists every message of each direction, once', () => {
  const { operations, components, channels } = record(document)
  const named = (operation: string): string[] => {
    const { messages } = record(record(operations)[operation])
    return (Array.isArray(messages) ? messages : []).map(({ $ref }) => String($ref).split('/').at(-1) ?? '')
  }
  expect(named('fromClient')).toEqual(titles(ClientMessage))
  expect(named('fromServer')).toEqual(titles(ServerMessage))
  const all = [...titles(ClientMessage), ...titles(ServerMessage)]
  expect(Object.keys(record(record(components)['messages']))).toEqual(all)
  expect(Object.keys(record(record(record(channels)['socket'])['messages']))).toEqual(all)
  for (const [name, message] of Object.entries(record(record(components)['messages']))) {
    const { payload } = record(message)
    expect([...ClientMessage.anyOf, ...ServerMessage.anyOf].map(({ title }) => title as string)).toContain(
      name,
    )
    expect(record(record(record(payload)['properties'])['type'])['const']).toBe(name)
  }
})

test('items, lists and members are documented as the API returns them', () => {
  const things = [...referencesIn(document)].filter(($ref) => $ref.startsWith('#/components/schemas/'))
  expect([...new Set(things)].sort()).toEqual(
    ['Item', 'List', 'Member'].map((name) => `#/components/schemas/${name}`),
  )
  // A reference, not a generic object.
  expect(JSON.stringify(document)).not.toContain('patternProperties')
})

test('every reference in the document resolves', () => {
  const references = [...referencesIn(document)]
  expect(references.length).toBeGreaterThan(40)
  for (const $ref of references)
    expect(`${$ref} ${typeof resolveRef($ref, record(document))}`).toBe(`${$ref} object`)
})

describeService('/asyncapi.json', (backend) => {
  let server: TestServer
  beforeAll(async () => {
    server = await sharedServer(backend)
  })

  test('serves the document', async () => {
    const answer = await fetch(`${server.url}/asyncapi.json`)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toContain('json')
    const body = record(await answer.json())
    expect(body['asyncapi']).toBe('3.0.0')
    expect({ ...body, info: null }).toEqual(JSON.parse(JSON.stringify({ ...document, info: null })))
  })

  test('messages on the wire match it', async () => {
    const tenant = await makeTenant(server)
    const [ann, ben] = [tenant.admin, await makeUser(server, tenant)]
    const { id } = await makeList(ann)
    const socket = await openSocket(server, ann.accessToken)
    await socket.follow(id, 99)
    await join(ann, id, ben)
    const item = await addItem(ben, id)
    await ben.api.patch(`/items/${item.id}`, { name: 'Tea' })
    await ben.api.delete(`/items/${item.id}`)
    await ann.api.patch(`/shopping-lists/${id}/members/${ben.id}`, { role: 'viewer' })
    await ann.api.delete(`/shopping-lists/${id}/members/${ben.id}`)
    await ann.api.patch(`/shopping-lists/${id}`, { name: 'New' })
    await ann.api.delete(`/shopping-lists/${id}`)
    socket.send('authenticate', { token: ann.accessToken }, 'a')
    socket.send('dance')
    socket.send('ping', {})
    await socket.next('pong')
    await until(() => socket.messages.some(({ type }) => type === 'unsubscribed'))
    const seen = new Set(socket.messages.map(({ type }) => type))
    const unseen = titles(ServerMessage).filter((title) => !seen.has(title))
    expect(unseen).toEqual(['token_expiring', 'member_left', 'list_restored'])
    for (const message of socket.messages)
      expect(schemaFaults(message, formOf(ServerMessage), record(document))).toEqual([])
    socket.close()
  })
})
