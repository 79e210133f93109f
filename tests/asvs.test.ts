/** The table in asvs.md is complete, and the tests and files it names exist. */
import { expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import levels from './asvs-levels.json'

interface Row {
  ids: string[]
  asks: string
  state: string
  answer: string
}

const text = await Bun.file(join(import.meta.dir, 'asvs.md')).text()
const rows: Row[] = text
  .split('\n')
  .filter((line) => /^\| V\d/.test(line))
  .map((line) => {
    const [ids = '', asks = '', state = '', ...rest] = line.slice(1, -1).split('|')
    return {
      ids: ids.split(',').map((id) => id.trim()),
      asks: asks.trim(),
      state: state.trim(),
      answer: rest.join('|').trim(),
    }
  })

/** Requirements of levels 1 and 2, as `V1.2.3`. */
const required = Object.entries(levels).flatMap(([section, digits]) =>
  [...digits].flatMap((level, index) => (level === '3' ? [] : [`${section}.${index + 1}`])),
)

const reference = /`([\w./-]+\.ts)` “([^”]+)”/g
const referencesOf = ({ answer }: Row) =>
  [...answer.matchAll(reference)].map(([, file = '', name = '']) => ({
    file,
    name: name.replaceAll('`', ''),
  }))
/** The letters of an answer apart from its references. */
const reasonOf = ({ answer }: Row): string => answer.replaceAll(reference, '').replace(/[^\p{L}]+/gu, '')

test('every requirement of levels 1 and 2 has exactly one row', () => {
  expect(required).toHaveLength(253)
  expect(rows.flatMap(({ ids }) => ids).toSorted()).toEqual(required.toSorted())
})

test('every row has a requirement and a valid state', () => {
  const states = ['met', 'by design', 'partly', 'not met', 'n/a']
  expect(rows.filter(({ asks, state }) => asks === '' || !states.includes(state))).toEqual([])
})

test('a met requirement names a test, any other a reason', () => {
  const bare = rows.filter((row) =>
    row.state === 'met' ? referencesOf(row).length === 0 : reasonOf(row) === '',
  )
  expect(bare).toEqual([])
})

test('a requirement that is partly met or not met says what is missing', () => {
  const vague = rows.filter(
    ({ state, answer }) => ['partly', 'not met'].includes(state) && answer.split(/[.!] |\.$/).length < 2,
  )
  expect(vague).toEqual([])
})

test('every test and file named exists', async () => {
  const missing: string[] = []
  for (const { file, name } of rows.flatMap(referencesOf)) {
    const path = join(import.meta.dir, file)
    const source = existsSync(path) ? await Bun.file(path).text() : ''
    const titles = ["'", '"', '`'].map((quote) => `${quote}${name}${quote}`)
    if (!titles.some((title) => source.includes(title))) missing.push(`${file} “${name}”`)
  }
  for (const [, file = ''] of text.matchAll(/`((?!src\/)[a-z-]+\/[\w./-]+\.ts)`/g))
    if (!existsSync(join(import.meta.dir, file))) missing.push(file)
  expect(missing).toEqual([])
})
