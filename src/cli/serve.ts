import { join } from 'node:path'
import type { Config } from '../config/config.ts'
import type { Logger } from '../log.ts'
import type { Metrics } from '../operations/metrics.ts'
import { createWorkerEnd } from '../operations/worker-metrics.ts'
import { type RunningServer, start } from '../server.ts'
import { version } from '../version.ts'
import type { Command } from './command.ts'
import { setUp } from './setup.ts'
import { stopAfter, stopSignal, unlessStopped } from './stopping.ts'
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
    const signal = stopSignal()
    const { config, log, pretty } = setUp()
    if (values['worker']) return work(signal, config, log)
    if (config.workers > 1) return watchWorkers(signal, config, log, pretty)
    const server = await unlessStopped(signal, log, start(config, log))
    process.stdout.write(greeting(config, server, pretty))
    await stopAfter(signal, server)
    return 0
  },
}

/** One of several processes on the port; ends with the process that started it, however that one ended. */
async function work(signal: Promise<void>, config: Config, log: Logger): Promise<number> {
  const orphaned = (): void => void process.kill(process.pid, 'SIGTERM')
  // First of all: whoever started this may be gone before it serves.
  process.once('disconnect', orphaned)
  try {
    const options = { sharePort: true, gatherMetrics: gatherOverWorkers(log) }
    const server = await unlessStopped(signal, log, start(config, log, options))
    process.send?.(server.url)
    await stopAfter(signal, server)
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

async function watchWorkers(
  signal: Promise<void>,
  config: Config,
  log: Logger,
  pretty: boolean,
): Promise<number> {
  const workers = startWorkers(config, log, [...ownCommand(), 'serve', '--worker'])
  const stopped = stopAfter(signal, workers)
  try {
    const url = await Promise.race([workers.ready, stopped])
    if (url !== undefined) process.stdout.write(greeting(config, { url, firstAdmin: null }, pretty))
    await stopped
    return 0
  } catch (error) {
    // One that could not start is given up, and so are those that still try.
    await workers.stop()
    throw error
  }
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
