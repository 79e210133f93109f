import { join } from 'node:path'
import type { Config } from '../config.ts'
import type { Metrics } from '../http/metrics.ts'
import type { Logger } from '../log.ts'
import { createWorkerEnd } from '../observability/worker-metrics.ts'
import { type RunningServer, start } from '../server.ts'
import { version } from '../version.ts'
import type { Command } from './command.ts'
import { setUp } from './setup.ts'
import { ownCommand, startWorkers } from './workers.ts'

export const serve: Command = {
  summary: 'run the service (what happens without a command)',
  details: [
    'Without settings: an embedded database in ./minimart-data, mails as files in its outbox, an admin whose password',
    'is printed once, at http://127.0.0.1:8000. With settings, for example:',
    '',
    '  DATABASE_URL=postgres://… REDIS_URL=redis://… JWT_SECRET_KEY=$(cat key) HOST=0.0.0.0 minimart',
    '',
    'Pending migrations are applied first, one instance at a time, unless AUTO_MIGRATE=false. A PostgreSQL that is',
    'away is waited for, 30 seconds. minimart check tries all of it beforehand.',
    'SIGTERM and SIGINT stop it within 10 seconds: requests that have begun are finished. SIGHUP is ignored. Logs go',
    'to standard output, JSON lines unless it is a terminal.',
  ].join('\n'),
  options: { worker: { type: 'boolean' } },
  async run({ values }) {
    const { config, log, pretty } = setUp()
    if (values['worker']) return work(config, log)
    if (config.workers > 1) return watchWorkers(config, log, pretty)
    const server = await start(config, log)
    // Before the greeting: whoever has read it may send a signal.
    const stopped = untilStopped(server)
    process.stdout.write(greeting(config, server, pretty))
    await stopped
    return 0
  },
}

/** One of several processes on the port; ends with the process that started it, however that one ended. */
async function work(config: Config, log: Logger): Promise<number> {
  const orphaned = (): void => void process.kill(process.pid, 'SIGTERM')
  // First of all: whoever started this may be gone before it serves.
  process.once('disconnect', orphaned)
  try {
    const server = await start(config, log, { sharePort: true, gatherMetrics: gatherOverWorkers(log) })
    const stopped = untilStopped(server)
    process.send?.(server.url)
    await stopped
    return 0
  } finally {
    // Listening keeps the process alive.
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

async function watchWorkers(config: Config, log: Logger, pretty: boolean): Promise<number> {
  const workers = startWorkers(config, log, [...ownCommand(), 'serve', '--worker'])
  const stopped = untilStopped(workers)
  const url = await workers.ready
  process.stdout.write(greeting(config, { url, firstAdmin: null }, pretty))
  await stopped
  return 0
}

const lingerMs = 500

/** Resolves once a signal came and the server has stopped. A second signal does not hurry it: it is bounded anyway. */
export async function untilStopped(
  server: Pick<RunningServer, 'stop'> & Partial<Pick<RunningServer, 'announceStop'>>,
): Promise<void> {
  await new Promise<void>((resolve) => {
    // Kept for good: without them a second signal would end the process where it stands.
    process.on('SIGTERM', () => resolve())
    process.on('SIGINT', () => resolve())
    // The terminal it was started from is gone: that is no reason to stop serving.
    process.on('SIGHUP', () => undefined)
  })
  await server.announceStop?.()
  await server.stop()
  // A connection that a driver forgot to close must not keep the process from ending.
  setTimeout(() => process.exit(), lingerMs).unref()
}

/** What a newcomer wants to know: where things are and how to sign in. The password is shown this once. */
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
          'First super admin made: sign in with this e-mail address and password, which is shown this once',
        email: firstAdmin.email,
        password: firstAdmin.generatedPassword,
      })
    return lines
      .map((line) => `${JSON.stringify({ time: new Date().toISOString(), level: 'info', ...line })}\n`)
      .join('')
  }
  const bold = (text: string): string => `\x1b[1m${text}\x1b[0m`
  const signIn = firstAdmin?.generatedPassword
    ? `${firstAdmin.email} with the password ${bold(firstAdmin.generatedPassword)} (shown this once)`
    : firstAdmin
      ? `${firstAdmin.email} with the password you set`
      : 'with your super admin; minimart create-admin makes another'
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
