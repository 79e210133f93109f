/**
 * Generated requests. Known things are placeholders (`§list§`), filled in when a request is sent, so that a seed makes
 * the same requests whatever ids and tokens a run has.
 */
import fc from 'fast-check'
import { bodyOf, type FuzzBody, type FuzzRoute, json, plausible } from './bodies.ts'
import { header, jsonType, query } from './headers.ts'
import { foreign, things } from './values.ts'

export interface FuzzRequest {
  route: FuzzRoute
  method: string
  caller: string
  parameters: string[]
  query: string
  headers: [string, string][]
  body: FuzzBody | null
}

export const callers = ['nobody', 'admin', 'owner', 'editor', 'viewer', 'stranger', 'root', 'other'] as const

/** One request in four is well-formed, so that handlers are reached too. */
export function fuzzRequest(routes: readonly FuzzRoute[]): fc.Arbitrary<FuzzRequest> {
  return fc
    .constantFrom(...routes)
    .chain((route) =>
      fc.oneof(
        { weight: 3, arbitrary: wildRequest(route) },
        { weight: 1, arbitrary: ordinaryRequest(route) },
      ),
    )
}

const wildRequest = (route: FuzzRoute): fc.Arbitrary<FuzzRequest> =>
  fc.record({
    route: fc.constant(route),
    method: fc.oneof(
      { weight: 15, arbitrary: fc.constant(route.method) },
      { weight: 1, arbitrary: fc.constantFrom(...methods) },
    ),
    caller: fc.constantFrom(...callers),
    parameters: fc.array(parameter, { minLength: 2, maxLength: 2 }),
    query,
    headers: fc
      .tuple(
        fc.nat(9),
        fc.oneof(
          { weight: 2, arbitrary: fc.constant([]) },
          { weight: 1, arbitrary: fc.array(header, { maxLength: 2 }) },
        ),
      )
      .map(([n, more]): [string, string][] => [...(n === 0 ? [] : [contentType]), ...more]),
    body: bodyOf(route),
  })

const ordinaryRequest = (route: FuzzRoute): fc.Arbitrary<FuzzRequest> =>
  fc.record({
    route: fc.constant(route),
    method: fc.constant(route.method),
    caller: fc.constantFrom(...callers),
    parameters: fc.constant(
      [...route.path.matchAll(/([\w-]+)\/:\w+/g)].map(([, kind]) => thingOf[kind ?? ''] ?? '§list§'),
    ),
    query: fc.constantFrom('', '', '?limit=2', '?cursor=§cursor§', '?since=0'),
    headers: fc
      .constantFrom(null, null, '"1"', '"seq-1"', '"7"')
      .map((version): [string, string][] => [contentType, ...(version ? [ifMatch(version)] : [])]),
    body: fc.constant(
      route.example === null
        ? null
        : {
            text: json(plausible(route.example)),
            bytes: new Uint8Array(),
            encoding: 'utf8' as const,
            chunked: false,
          },
    ),
  })

const nastySegments = [
  ...'§list§%00 %00 %ff%fe % %zz .. %2e%2e %2f %2F..%2F.. . -1 0 me null * :id {id}'.split(' '),
  ...[
    '00000000-0000-0000-0000-000000000000',
    'ffffffff-ffff-ffff-ffff-ffffffffffff',
    '00000000-0000-7000-8000-000000000000',
  ],
  ...[
    '550e8400-e29b-41d4-a716-446655440000',
    '§list§ ',
    '§list§%0a',
    '§list§;v=1',
    '§upperList§',
    "1'or'1'='1",
    '%F0%9F%92%A9',
    '%C0%AE',
    'x'.repeat(3000),
  ],
]

const parameter = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...things.map((name) => `§${name}§`)) },
  { weight: 2, arbitrary: fc.constantFrom(...foreign.map((name) => `§${name}§`)) },
  { weight: 2, arbitrary: fc.constantFrom(...nastySegments) },
)

const methods = ['GET', 'HEAD', 'OPTIONS', 'PUT', 'TRACE', 'POST', 'PATCH', 'DELETE']

const contentType: [string, string] = ['Content-Type', jsonType]

const ifMatch = (version: string): [string, string] => ['If-Match', version]

const thingOf: Record<string, string> = {
  'shopping-lists': '§list§',
  items: '§item§',
  members: '§viewer§',
  users: '§stranger§',
  tenants: '§tenant§',
  sessions: '§session§',
}
