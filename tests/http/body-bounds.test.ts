/** What costs time is refused before the work is done, and what is done gives others their turn. */
import { expect, test } from 'bun:test'
import { BodyFault, readJson } from '../../src/http/body.ts'

const request = (body: string): Request =>
  new Request('http://localhost/', {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) },
    body,
  })

const fields = (count: number, value = '1'): string =>
  `{${Array.from({ length: count }, (_, index) => `"k${index}":${value}`)}}`
const list = (count: number, value = '1'): string => `[${Array(count).fill(value)}]`
const nested = (depth: number): string => `{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`

test.each<[what: string, body: string, fault: string | null]>([
  ['nine levels', nested(9), null],
  ['ten levels', nested(10), 'body: is nested too deeply'],
  ['brackets left open', '['.repeat(1000), 'The body is not well-formed JSON in UTF-8.'],
  ['10,000 values', `{"a":${list(10, list(1000))}}`, null],
  ['more values', `{"a":${list(11, list(1000))}}`, 'body: holds too many values'],
  ['1,001 entries', `{"a":{"b":${list(1001)}}}`, 'a.b: must not have more than 1000 entries'],
  ['100 fields', fields(100), null],
  ['101 fields', fields(101), 'body: must not have more than 100 fields'],
  ['101 fields inside', `{"a":[${fields(101)}]}`, 'a.0: must not have more than 100 fields'],
  ['16,384 characters', `{"a":"${'x'.repeat(16_384)}"}`, null],
  ['one more', `{"a":{"b":"${'x'.repeat(16_385)}"}}`, 'a.b: must not be longer than 16384 characters'],
  ['so long a name', `{"${'x'.repeat(16_385)}":1}`, 'body: must not be longer than 16384 characters'],
  ['what only looks like structure', `{"a":"${'\\"[{,'.repeat(3000)}"}`, null],
  ['a text that ends in a backslash', `{"a":"${'\\\\'.repeat(3000)}","b":"${'['.repeat(100)}"}`, null],
])('%s', async (_what, body, fault) => {
  const read = await readJson(request(body))
  expect(read instanceof BodyFault ? read.error.message : null).toBe(fault)
})

test('a long normalisation lets others have their turn', async () => {
  let [turns, isOver] = [0, false]
  const count = (): void => {
    turns++
    if (!isOver) setImmediate(count)
  }
  const text = `"${`e${'\u0301\u0316'.repeat(15)}`.repeat(500)}"`
  const body = request(fields(33, text))
  setImmediate(count)
  expect(await readJson(body)).not.toBeInstanceOf(BodyFault)
  isOver = true
  // 511,500 characters, some 65,536 to 80,000 a turn.
  expect(turns).toBeGreaterThanOrEqual(5)
})
