/** PgBouncer for tests, in front of a PostgreSQL server: started from the program found on this machine. */
import { describe } from 'bun:test'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import postgres from 'postgres'
import { postgresAvailable } from './postgres.ts'
import { createService, folderWith, onFreePort, servicesRequired } from './service.ts'

export interface Pooler {
  /** The pooler's URL for a database of the server. */
  to(databaseUrl: string): string
  end(): Promise<void>
}

const folder = folderWith(['pgbouncer'], ['/usr/sbin'])

export const pgbouncerAvailable = folder !== null

/** `describe`, skipped if there is no PgBouncer or no PostgreSQL; on CI it runs and fails. */
export const describePooler = describe.skipIf(!(pgbouncerAvailable && postgresAvailable) && !servicesRequired)

/** @param settings of its section [pgbouncer] */
export const startPgbouncer = (server: string, settings: Record<string, string>): Promise<Pooler> =>
  onFreePort((port) => startOn(port, new URL(server), settings))

async function startOn(port: number, server: URL, settings: Record<string, string>): Promise<Pooler> {
  if (folder === null) throw new Error('There is no PgBouncer: install pgbouncer')
  const to = (databaseUrl: string): string => {
    const url = new URL(databaseUrl)
    url.host = `127.0.0.1:${port}`
    return url.href
  }
  const service = await createService({
    name: 'pgbouncer',
    ordinaryUser: true,
    signals: { clean: 'INT', crash: 'KILL' },
    prepare: (at) => writeFile(join(at, 'ini'), configuration(port, server, settings)),
    command: (at) => [join(folder, 'pgbouncer'), join(at, 'ini')],
    probe: async () => {
      const client = postgres(to(server.href), { max: 1, connect_timeout: 10 })
      await client`select 1`.simple().finally(() => client.end({ timeout: 2 }))
    },
  })
  try {
    await service.start()
  } catch (error) {
    await service.end()
    throw error
  }
  return { to, end: service.end }
}

function configuration(port: number, server: URL, settings: Record<string, string>): string {
  const password = server.password === '' ? '' : ` password='${decodeURIComponent(server.password)}'`
  const own = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'any',
    ...settings,
  }
  return [
    '[databases]',
    `* = host=${server.hostname} port=${server.port || 5432} user=${server.username}${password}`,
    '[pgbouncer]',
    ...Object.entries(own).map(([name, value]) => `${name} = ${value}`),
  ].join('\n')
}
