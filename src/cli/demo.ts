import { randomBytes } from 'node:crypto'
import { start } from '../server.ts'
import type { Command } from './command.ts'
import { fillDemo } from './demo/fill.ts'
import { setUp } from './setup.ts'
import { shutdownSignal, startUnlessSignalled, stopOn } from './shutdown.ts'

export const demo: Command = {
  summary: 'run the embedded server with a sample tenant to play with',
  details: [
    'Two users and three lists of groceries, in ./minimart-demo unless DATA_DIR is set; DATABASE_URL and REDIS_URL are',
    'ignored. Each start generates new passwords and prints them with commands ready to paste.',
  ].join('\n'),
  async run() {
    const signal = shutdownSignal()
    const { config, log } = setUp({
      DATABASE_URL: undefined,
      REDIS_URL: undefined,
      DATA_DIR: process.env['DATA_DIR'] ?? './minimart-demo',
      LOG_LEVEL: process.env['LOG_LEVEL'] ?? 'warn',
    })
    const server = await startUnlessSignalled(signal, log, start(config, log))
    const password = randomBytes(16).toString('base64url')
    const sample = await fillDemo(server.deps, password)
    process.stdout.write(instructions(server.url, password, sample))
    await stopOn(signal, server)
    return 0
  },
}

interface Sample {
  admin: string
  member: string
  listId: string
  itemId: string
}

const instructions = (url: string, password: string, { admin, member, listId, itemId }: Sample): string => `
MiniMart's demo is running at ${url} (API documents: ${url}/docs). Ctrl-C stops it.

Sign in as the admin   ${admin}
or as a member         ${member}
both with the password ${password}

Commands to paste, one after the other:

TOKEN=$(curl -s ${url}/api/v1/auth/login -H 'Content-Type: application/json' \\
  -d '{"email":"${member}","password":"${password}"}' | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')

curl -s ${url}/api/v1/shopping-lists -H "Authorization: Bearer $TOKEN"

curl -s ${url}/api/v1/shopping-lists/${listId} -H "Authorization: Bearer $TOKEN"

curl -s ${url}/api/v1/shopping-lists/${listId}/items -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' -d '{"name":"Bananas","quantity":6,"category":"Fruit"}'

curl -s -X PATCH ${url}/api/v1/items/${itemId} -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' -d '{"status":"purchased"}'

`
