/** Makes access tokens by hand and sends them to the service. */
import { createHmac } from 'node:crypto'
import { claimsOf, forge } from '../../support/auth.ts'
import { makeTenant, makeUser } from '../../support/people.ts'
import type { TestServer } from '../../support/server.ts'

export const hs256 = { alg: 'HS256', typ: 'JWT' }
export const base64url = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
export const encode = (text: string | Uint8Array): string => Buffer.from(text).toString('base64url')

export interface Forgery {
  /** One that the service issued, its claims, and its signing key. */
  token: string
  claims: Record<string, unknown>
  secret: string
  hmac(text: string, key?: string, hash?: string): string
  /** Correctly signed, whatever the parts. */
  signed(header: string, payload: string | Uint8Array): string
  /** Correctly signed, with other claims; undefined removes one. */
  changed(change: Record<string, unknown>): string
  /** The answer's status and, for an error, its code. */
  answerToHeader(authorization: string): Promise<string>
  answerTo(token: string): Promise<string>
  /** Which of the named tokens get another answer. */
  notAnswered(expected: string, tokens: Record<string, string>): Promise<unknown[]>
}

export async function startForging(server: TestServer): Promise<Forgery> {
  const { accessToken: token } = await makeUser(server, await makeTenant(server))
  const claims = claimsOf(token)
  const secret = server.environment['JWT_SECRET_KEY'] ?? ''
  const hmac = (text: string, key = secret, hash = 'sha256'): string =>
    createHmac(hash, key).update(text).digest('base64url')
  const answerToHeader = async (authorization: string): Promise<string> => {
    const response = await fetch(`${server.url}/api/v1/auth/me`, { headers: { authorization } })
    return `${response.status} ${/"code":"(\w+)"/.exec(await response.text())?.[1] ?? ''}`.trim()
  }
  const answerTo = (sent: string): Promise<string> => answerToHeader(`Bearer ${sent}`)
  return {
    ...{ token, claims, secret, hmac, answerToHeader, answerTo },
    signed(header, payload) {
      const body = `${encode(header)}.${encode(payload)}`
      return `${body}.${hmac(body)}`
    },
    changed: (change) => forge({ ...claims, ...change }, secret, hs256),
    async notAnswered(expected, tokens) {
      const answers: [string, string][] = []
      for (const [what, sent] of Object.entries(tokens)) answers.push([what, await answerTo(sent)])
      return answers.filter(([, answer]) => answer !== expected)
    },
  }
}
