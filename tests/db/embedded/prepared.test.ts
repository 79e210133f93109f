/** Prepared statements of the embedded database, on a PGlite in memory. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { PGlite } from '@electric-sql/pglite'
import { createPrepared } from '../../../src/db/embedded/prepared.ts'
import { StatementError } from '../../../src/db/errors.ts'

let pglite: PGlite
let run: ReturnType<typeof createPrepared>
beforeAll(async () => {
  pglite = await PGlite.create()
  run = createPrepared(pglite)
})
afterAll(() => pglite.close())

const prepared = async (): Promise<{ name: string; plans: number }[]> =>
  (
    await pglite.query<{ name: string; plans: number }>(
      `select name, (generic_plans + custom_plans)::int as plans from pg_prepared_statements order by name`,
    )
  ).rows

const twice = async (text: string, ...parameters: (string | null)[]) => {
  const first = await run({ text, parameters })
  expect(await run({ text, parameters })).toEqual(first)
  return first
}

test('is prepared when it comes a second time, and gives the same rows', async () => {
  const text = 'select $1::text as text, $2::int + 1 as number, $3::text is null as nothing'
  const quoted = 'it\'s \\ "quoted" $1 -- ; 🛒'
  expect(await twice(text, quoted, '41', null)).toEqual([{ text: quoted, number: 42, nothing: true }])
  expect(await prepared()).toEqual([{ name: 'statement_1', plans: 1 }])
})

test('is refused like any other, with no value in the error, and stays usable', async () => {
  const text = 'select ($1::text)::int as number'
  for (let round = 0; round < 3; round++)
    await expect(run({ text, parameters: ['secret'] })).rejects.toThrow(StatementError)
  const error = await run({ text, parameters: ['secret'] }).catch((thrown: unknown) => thrown)
  expect(String(error)).not.toContain('secret')
  expect(await run({ text, parameters: ['7'] })).toEqual([{ number: 7 }])
})

test('cannot be ended by a NUL in a value', async () => {
  const text = 'select $1::text as text'
  await twice(text, 'harmless')
  const ended = "x'); drop table kept; --\0"
  await pglite.exec('create table kept ()')
  await expect(run({ text, parameters: [ended] })).rejects.toThrow('22021')
  expect(await run({ text: 'select from kept', parameters: [] })).toEqual([])
})

test('runs as it is where it cannot be prepared', async () => {
  for (let round = 0; round < 3; round++)
    expect(await run({ text: 'show fsync', parameters: [] })).toHaveLength(1)
})

test('is planned anew after 500 uses, as its table may have grown', async () => {
  const text = 'select $1::int as planned_anew'
  const nameNow = async () =>
    (
      await pglite.query<{ name: string }>(
        `select name from pg_prepared_statements where statement like '%planned_anew'`,
      )
    ).rows
  await twice(text, '1')
  const [before] = await nameNow()
  for (let use = 0; use < 600; use++) await run({ text, parameters: ['1'] })
  const [after, ...others] = await nameNow()
  expect(after?.name).not.toBe(before?.name)
  expect(others).toEqual([])
})

test('makes room for another past 500', async () => {
  for (let count = 0; count < 510; count++) await twice(`select ${count} as n${count}`)
  expect((await prepared()).length).toBeLessThanOrEqual(500)
})
