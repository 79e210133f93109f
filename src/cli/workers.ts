/**
 * WORKERS above 1: that many processes of this program share one port (SO_REUSEPORT) and are kept in sync by Redis, as
 * instances on several machines are. This process supervises them: it restarts those that die and stops them all.
 */

import type { Subprocess } from 'bun'
import pTimeout from 'p-timeout'
import { Registry } from 'prom-client'
import type { Config } from '../config/config.ts'
import { OperatorError } from '../errors.ts'
import { ensureFree } from '../http/listening.ts'
import type { Logger } from '../log.ts'
import { startMetricsServer } from '../operations/metrics-server.ts'
import { createParentEnd } from '../operations/worker-metrics.ts'

export interface Workers {
  /** Resolves with the URL when the first worker serves. @throws OperatorError when none can start */
  readonly ready: Promise<string>
  /** Drains all workers; resolves when they have exited. */
  stop(): Promise<void>
}

/** Restarts of a worker that did not live this long back off exponentially. */
const stableAfterMs = 10_000
const maxBackoffMs = 10_000
/** Of any worker, before the first one serves; after these, starting has failed. */
const maxFailedStarts = 3
/** The exit code of a worker that reported why it cannot start: trying again would not help. */
const reportedFailure = 1
const killAfterMs = 9500

/** @param command how to start one worker: a program and its arguments */
export function startWorkers(config: Config, log: Logger, command: string[]): Workers {
  if (config.port === 0)
    throw new OperatorError('PORT must name a port when WORKERS is over 1: all of them share it.')
  // The workers share the port, so none would notice that another program has it.
  ensureFree(config)
  const running = new Set<Subprocess>()
  const metrics = createParentEnd(log)
  const { promise: ready, resolve, reject } = Promise.withResolvers<string>()
  const stop = Promise.withResolvers<void>()
  let stopping = false
  let served = false
  let failedStarts = 0

  const run = async (index: number): Promise<void> => {
    for (let quickExits = 0; !stopping; ) {
      const startedAt = performance.now()
      const worker = spawnWorker(command, (message) => {
        served = true
        if (typeof message === 'string') resolve(message)
        else metrics.receive(index, message)
      })
      running.add(worker)
      metrics.add(index, (message) => worker.send(message))
      const code = await worker.exited
      running.delete(worker)
      metrics.remove(index)
      if (stopping) return
      if (!served && (code === reportedFailure || ++failedStarts >= maxFailedStarts))
        return reject(new OperatorError('The workers cannot start; their messages above say why.'))
      quickExits = performance.now() - startedAt < stableAfterMs ? quickExits + 1 : 0
      const in_ms = quickExits === 0 ? 0 : Math.min(maxBackoffMs, 100 * 2 ** (quickExits - 1))
      const { signalCode: signal } = worker
      log.error('a worker ended; restarting it', { worker: index, code, signal, in_ms })
      await Promise.race([Bun.sleep(in_ms), stop.promise])
    }
  }

  const gathered = { text: metrics.gather, contentType: Registry.PROMETHEUS_CONTENT_TYPE }
  const metricsServer = config.metricsPort === null ? null : startMetricsServer(config, gathered, log)
  const all = Promise.all(Array.from({ length: config.workers }, (_, index) => run(index + 1)))
  return {
    ready,
    async stop() {
      stopping = true
      stop.resolve()
      signalAll(running, 'SIGTERM')
      await pTimeout(all, { milliseconds: killAfterMs, fallback: () => signalAll(running, 'SIGKILL') })
      await all
      await metricsServer?.stop()
    },
  }
}

const spawnWorker = (command: string[], ipc: (message: unknown) => void): Subprocess =>
  Bun.spawn(command, { stdio: ['ignore', 'inherit', 'inherit'], ipc })

function signalAll(workers: Iterable<Subprocess>, signal: NodeJS.Signals): void {
  for (const worker of workers) worker.kill(signal)
}

/** The command that started this program: the executable, or Bun with the entry file. */
export const ownCommand = (): string[] =>
  Bun.main.startsWith('/$bunfs/') || Bun.main.startsWith('B:/~BUN/')
    ? [process.execPath]
    : [process.execPath, Bun.main]
