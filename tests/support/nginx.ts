/** nginx for tests, in front of a server: started from the program found on this machine. */
import { describe } from 'bun:test'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createService, folderWith, onFreePort, servicesRequired } from './service.ts'

export interface Nginx {
  /** Its own URL. */
  readonly url: string
  end(): Promise<void>
}

const folder = folderWith(['nginx'], ['/usr/sbin'])

export const nginxAvailable = folder !== null

/** `describe`, skipped if there is no nginx; on CI it runs and fails. */
export const describeNginx = describe.skipIf(!nginxAvailable && !servicesRequired)

/** @param http directives of its `http` block, given the port that a server is to listen on */
export const startNginx = (http: (port: number) => string): Promise<Nginx> =>
  onFreePort((port) => startOn(port, http(port)))

async function startOn(port: number, http: string): Promise<Nginx> {
  if (folder === null) throw new Error('There is no nginx: install nginx')
  const url = `http://127.0.0.1:${port}`
  const service = await createService({
    name: 'nginx',
    ordinaryUser: true,
    signals: { clean: 'QUIT', crash: 'TERM' },
    prepare: (at) => writeFile(join(at, 'nginx.conf'), configuration(at, http)),
    command: (at) => [join(folder, 'nginx'), '-e', 'stderr', '-p', at, '-c', join(at, 'nginx.conf')],
    probe: async () => {
      await fetch(url)
    },
  })
  try {
    await service.start()
  } catch (error) {
    await service.end()
    throw error
  }
  return { url, end: service.end }
}

const configuration = (at: string, http: string): string => `
daemon off;
worker_processes 1;
pid ${at}/pid;
error_log stderr;
events { worker_connections 64; }
http {
  access_log off;
${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((what) => `  ${what}_temp_path ${at}/${what};`).join('\n')}
${http}
}
`
