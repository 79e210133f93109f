import { join } from 'node:path'
import type { Config } from '../config/config.ts'
import type { Logger } from '../log.ts'
import type { Metrics } from '../operations/metrics.ts'
import { createWorkerEnd } from '../operations/worker-metrics.ts'
import { type RunningServer, start } from '../server.ts'
import { version } from '../version.ts'
import type { Command } from './command.ts'
import { setUp } from './setup.ts'
import { shutdownSignal, startUnlessSignalled, stopOn } from './shutdown.ts'
import { ownCommand, startWorkers } from './workers.ts'

export const serve: Command = {
  summary: 'run the service (the default command)',
  details: [
    'Without settings it serves http://127.0.0.1:8000 from an embedded database in ./minimart-data, writes mails to files',
    'in its outbox, and creates an admin whose password is printed once. With settings, for example:',
    '',
    '  DATABASE_URL=postgres://… REDIS_URL=redis://… JWT_SECRET_KEY=$(cat key) HOST=0.0.0.0 minimart',
    '',
    'Pending migrations are applied first, one instance at a time, unless AUTO_MIGRATE=false. If PostgreSQL is',
    'unreachable, it waits up to 30 seconds for it. minimart check tests the settings and connections beforehand.',
    'SIGTERM and SIGINT stop it within 10 seconds, after finishing the requests under way. SIGHUP is ignored. Logs go to',
    'standard output, as JSON lines unless that is a terminal.',
  ].join('\n'),
  options: { worker: { type: 'boolean' } },
  async run({ values }) {
    const signal = shutdownSignal()
    const { config, log, pretty } = setUp()
    if (values['worker']) return work(signal, config, log)
    if (config.workers > 1) return watchWorkers(signal, config, log, pretty)
    const server = await startUnlessSignalled(signal, log, start(config, log))
    process.stdout.write(greeting(config, server, pretty))
    await stopOn(signal, server)
    return 0
  },
}

/** One of several processes on the port. It stops when the process that started it goes away, however that ended. */
async function work(signal: Promise<void>, config: Config, log: Logger): Promise<number> {
  const orphaned = (): void => void process.kill(process.pid, 'SIGTERM')
  // Before anything else: the parent may be gone before this serves.
  process.once('disconnect', orphaned)
  try {
    const options = { sharePort: true, gatherMetrics: gatherOverWorkers(log) }
    const server = await startUnlessSignalled(signal, log, start(config, log, options))
    process.send?.(server.url)
    await stopOn(signal, server)
    return 0
  } finally {
    // The IPC channel keeps the process alive.
    process.off('disconnect', orphaned)
    if (process.connected) process.disconnect?.()
  }
}

const gatherOverWorkers =
  (log: Logger) =>
  (own: Metrics): (() => Promise<string>) => {
    const end = createWorkerEnd(own, (message) => process.send?.(message), log)
    process.on('message', end.receive)
    return end.gather
  }

async function watchWorkers(
  signal: Promise<void>,
  config: Config,
  log: Logger,
  pretty: boolean,
): Promise<number> {
  const workers = startWorkers(config, log, [...ownCommand(), 'serve', '--worker'])
  const stopped = stopOn(signal, workers)
  try {
    const url = await Promise.race([workers.ready, stopped])
    if (url !== undefined) process.stdout.write(greeting(config, { url, firstAdmin: null }, pretty))
    await stopped
    return 0
  } catch (error) {
    // One worker could not start: the others are stopped, even those still starting.
    await workers.stop()
    throw error
  }
}

/** Where things are and how to sign in. A generated password is shown only here. */
function greeting(
  config: Config,
  { url, firstAdmin }: Pick<RunningServer, 'url' | 'firstAdmin'>,
  pretty: boolean,
): string {
  const mails = config.smtpHost ? `sent by ${config.smtpHost}` : join(config.dataDir, 'outbox')
  const places = { api: `${url}/api/v1`, docs: `${url}/docs`, mails }
  if (!pretty) {
    const lines: object[] = [{ message: 'MiniMart is ready', version, url, ...places }]
    if (firstAdmin?.generatedPassword)
      lines.push({
        message:
          'Created the first super admin: sign in with this e-mail address and password, which is shown only once',
        email: firstAdmin.email,
        password: firstAdmin.generatedPassword,
      })
    return lines
      .map((line) => `${JSON.stringify({ time: new Date().toISOString(), level: 'info', ...line })}\n`)
      .join('')
  }
  const bold = (text: string): string => `\x1b[1m${text}\x1b[0m`
  const signIn = firstAdmin?.generatedPassword
    ? `${firstAdmin.email} with the password ${bold(firstAdmin.generatedPassword)} (shown only once)`
    : firstAdmin
      ? `${firstAdmin.email} with the password you set`
      : 'as your super admin; minimart create-admin creates another'
  return [
    '',
    bold(`MiniMart ${version} is ready.`),
    `  API      ${places.api}`,
    `  Docs     ${places.docs}`,
    `  Mails    ${places.mails}`,
    `  Sign in  ${signIn}`,
    '',
    '',
  ].join('\n')
}
