/**
 * WORKERS over 1: so many processes of this program on one port. The kernel spreads connections over them
 * (SO_REUSEPORT); what keeps them in step is Redis, as with instances on several machines. This process only watches:
 * it restarts one that dies and passes on the word to stop.
 */

import type { Subprocess } from 'bun'
import { Registry } from 'prom-client'
import type { Config } from '../config/config.ts'
import { OperatorError } from '../errors.ts'
import { ensureFree } from '../http/listening.ts'
import type { Logger } from '../log.ts'
import { startMetricsServer } from '../operations/metrics-server.ts'
import { createParentEnd } from '../operations/worker-metrics.ts'

export interface Workers {
  /** Resolves with the URL when the first one serves. @throws OperatorError when none can start */
  readonly ready: Promise<string>
  /** Drains all; resolves when all have ended. */
  stop(): Promise<void>
}

/** A worker that ends sooner than this after its start is restarted more and more slowly. */
const steadyMs = 10_000
const maxPauseMs = 10_000
/** So many ends in a row before any worker has served, and starting is given up; at once when one has said why. */
const maxFailedStarts = 3
const toldFailure = 1
const killAfterMs = 9500

/** @param command how to start one worker: a program and its arguments */
export function startWorkers(config: Config, log: Logger, command: string[]): Workers {
  if (config.port === 0)
    throw new OperatorError('PORT must name a port when WORKERS is over 1: all of them share it.')
  // They share it, so none of them would notice that a stranger has it.
  ensureFree(config)
  const running = new Set<Subprocess>()
  const metrics = createParentEnd(log)
  const { promise: ready, resolve, reject } = Promise.withResolvers<string>()
  const stop = Promise.withResolvers<void>()
  let stopping = false
  let served = false
  let failedStarts = 0

  const run = async (index: number): Promise<void> => {
    for (let quickEnds = 0; !stopping; ) {
      const startedAt = performance.now()
      const worker = Bun.spawn(command, {
        stdio: ['ignore', 'inherit', 'inherit'],
        ipc: (message: unknown) => {
          served = true
          if (typeof message === 'string') resolve(message)
          else metrics.receive(index, message)
        },
      })
      running.add(worker)
      metrics.add(index, (message) => worker.send(message))
      const code = await worker.exited
      running.delete(worker)
      metrics.remove(index)
      if (stopping) return
      if (!served && (code === toldFailure || ++failedStarts >= maxFailedStarts))
        return reject(new OperatorError('The workers cannot start; their messages above say why.'))
      quickEnds = performance.now() - startedAt < steadyMs ? quickEnds + 1 : 0
      const pauseMs = quickEnds === 0 ? 0 : Math.min(maxPauseMs, 100 * 2 ** (quickEnds - 1))
      log.error('a worker ended; restarting it', {
        worker: index,
        code,
        signal: worker.signalCode,
        in_ms: pauseMs,
      })
      await Promise.race([Bun.sleep(pauseMs), stop.promise])
    }
  }

  const figures = { text: metrics.gather, contentType: Registry.PROMETHEUS_CONTENT_TYPE }
  const metricsServer = config.metricsPort === null ? null : startMetricsServer(config, figures, log)
  const all = Promise.all(Array.from({ length: config.workers }, (_, index) => run(index + 1)))
  return {
    ready,
    async stop() {
      stopping = true
      stop.resolve()
      for (const worker of running) worker.kill('SIGTERM')
      const late = setTimeout(() => {
        for (const worker of running) worker.kill('SIGKILL')
      }, killAfterMs)
      await all
      clearTimeout(late)
      await metricsServer?.stop()
    },
  }
}

/** How this very program was started: the executable itself, or Bun with the entry file. */
export const ownCommand = (): string[] =>
  Bun.main.startsWith('/$bunfs/') || Bun.main.startsWith('B:/~BUN/')
    ? [process.execPath]
    : [process.execPath, Bun.main]
