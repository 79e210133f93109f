/** An attempt makes the same call twice: on another tenant's thing and on one that does not exist. */
import type { Person } from '../../support/people.ts'
import type { TestServer } from '../../support/server.ts'

/** An answer with the requested ids, and whatever varies from call to call, masked. */
export interface Outcome {
  /** The HTTP status, or the type of a socket's message. */
  code: string
  text: string
}

export interface Attempt {
  name: string
  /** The required code; without it, matching the control is enough. */
  expected?: string
  foreign(): Promise<Outcome>
  control(): Promise<Outcome>
  /** Runs alone, because it changes what others read. */
  alone?: boolean
}

export interface Call {
  method: string
  /** From the root, including the query. */
  path: string
  body?: object | undefined
  headers?: Record<string, string>
}

/** @param aims requested values, by the placeholder that replaces them in both answers */
export async function ask(
  { url }: TestServer,
  person: Pick<Person, 'accessToken'> | null,
  { method, path, body, headers }: Call,
  aims: Record<string, string>,
): Promise<Outcome & { body: string; status: number }> {
  const response = await fetch(url + path, {
    method,
    headers: {
      ...(person ? { authorization: `Bearer ${person.accessToken}` } : {}),
      ...(body ? { 'content-type': 'application/json' } : {}),
      ...headers,
    },
    ...(body ? { body: JSON.stringify(body) } : {}),
  })
  const raw = await response.text()
  const kept = [...response.headers].filter(([name]) => !perAnswer.has(name)).sort()
  const text = masked(`${response.status} ${JSON.stringify(kept)} ${raw}`, aims)
  return { code: String(response.status), text, body: raw, status: response.status }
}

/** Content-Length only reflects the text, and differs where one address is longer than another. */
const perAnswer = new Set(['date', 'x-request-id', 'content-length'])

export function masked(text: string, aims: Record<string, string>): string {
  let result = text
    .replace(/"request_id":"[^"]+"/g, '"request_id":"-"')
    .replace(/"next_cursor":"[^"]+"/g, '"next_cursor":"-"')
    .replace(/"action_id":"[^"]+"/g, '"action_id":"-"')
    .replace(/\b(\d+)\.[0-9a-f]{8}\b/g, '$1.<mark>')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
    .replace(/eyJ[\w-]+\.[\w-]+\.[\w-]+/g, '<token>')
  for (const [name, value] of Object.entries(aims)) result = result.replaceAll(value, `<${name}>`)
  return result
}

const atOnce = 8

const shown = 20

/** Runs all attempts and returns the first faults. @param secrets of the other tenant */
export async function runAll(attempts: readonly Attempt[], secrets: readonly string[]): Promise<string[]> {
  const faults: string[] = []
  const waiting = attempts.filter(({ alone }) => !alone)
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift())
      faults.push(...(await runOne(next, secrets)))
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  for (const attempt of attempts.filter(({ alone }) => alone))
    faults.push(...(await runOne(attempt, secrets)))
  return faults.slice(0, shown)
}

async function runOne(attempt: Attempt, secrets: readonly string[]): Promise<string[]> {
  const { name, expected } = attempt
  const failed = (error: unknown): Outcome => ({ code: 'failed', text: `failed, ${name}: ${String(error)}` })
  const foreign = await attempt.foreign().catch(failed)
  const control = await attempt.control().catch(failed)
  const secret = secrets.find((value) => foreign.text.includes(value))
  return [
    ...(foreign.code === 'failed' ? [foreign.text] : []),
    ...(foreign.text === control.text ? [] : [`${name}: ${difference(foreign.text, control.text)}`]),
    ...(expected === undefined || foreign.code === expected
      ? []
      : [`${name}: ${foreign.code}, not ${expected}: ${around(foreign.text, 0)}`]),
    ...(secret === undefined
      ? []
      : [`${name}: ${leaked} ${secret}: ${around(foreign.text, foreign.text.indexOf(secret))}`]),
  ]
}

/** Where the two answers first differ. */
function difference(foreign: string, control: string): string {
  const at = [...foreign].findIndex((letter, index) => letter !== control[index])
  const place = at < 0 ? foreign.length : at
  return `got ${around(foreign, place)} but the control ${around(control, place)}`
}

const around = (text: string, at: number): string => `«${text.slice(Math.max(0, at - 120), at + 120)}»`

/** Marks faults that leak data rather than merely differ. */
export const leaked = 'leaks what is theirs,'
