/** Listens on what open-deps.ts has opened, and shuts it down again in order. */
import type { Server } from 'bun'
import pTimeout from 'p-timeout'
import { type App, type AppDeps, createApp } from './app.ts'
import type { Config } from './config/config.ts'
import type { Housekeeping, HousekeepingTimes } from './features/housekeeping/job.ts'
import type { KeptBytesCount } from './features/housekeeping/kept-bytes.ts'
import { ensureSuperAdmin, type FirstAdmin } from './features/users/super-admin.ts'
import { cannotListen, ensureFree, hostInUrl } from './http/listening.ts'
import { descriptorShortage } from './lib/descriptors.ts'
import type { Logger } from './log.ts'
import { type OpenOptions, openDeps } from './open-deps.ts'
import type { Phase } from './operations/readiness.ts'
import { websocketOptions } from './realtime/routes.ts'

export interface RunningServer {
  /** Where it listens, e.g. `http://127.0.0.1:8000`. */
  readonly url: string
  readonly firstAdmin: FirstAdmin | null
  readonly deps: Awaited<ReturnType<typeof openDeps>>['deps']
  readonly housekeeping: Housekeeping
  readonly keptBytes: KeptBytesCount
  /** From now on /readyz answers 503 and each answer ends its connection; all else goes on for SHUTDOWN_DELAY_MS. */
  announceStop(): Promise<void>
  /** Stops accepting, finishes requests, sends waiting mails, closes: 8.5 seconds at most, announceStop included. */
  stop(): Promise<void>
}

export interface StartOptions extends OpenOptions {
  /** For several workers of one program on one port. */
  sharePort?: boolean
  housekeepingTimes?: HousekeepingTimes
  /** False: what tenants keep is counted only when `keptBytes.count` is called. */
  countsKept?: boolean
}

/** Above it, Bun itself answers 413; below it http/body.ts does, with a body that says so. */
const serverBodyLimitBytes = 2 ** 30
/** Other instances' revocations must be known within a second; the embedded database has no other instance. */
const revocationsIntervalMs = { shared: 400, embedded: 20_000 }
const finishRequestsMs = 5000
/** Service managers kill after 10 seconds. */
const stopWithinMs = 8500
/** Long enough for a balancer that polls every second; without one, for clients to leave their kept connections. */
const defaultShutdownDelayMs = { shared: 1000, embedded: 250 }

/** @throws OperatorError, or another Error whose message tells the operator what to do */
export async function start(config: Config, log: Logger, options: StartOptions = {}): Promise<RunningServer> {
  let phase: Phase = 'starting'
  if (!options.sharePort) ensureFree(config)
  const shortage = descriptorShortage()
  if (shortage !== null) log.warn(shortage)
  const { deps, housekeeping, keptBytes, close } = await openDeps(config, log, () => phase, options)
  const kind = config.databaseUrl === null ? 'embedded' : 'shared'
  try {
    const server = listen(createApp(deps), config, options.sharePort ?? false)
    deps.live.useTopics((topic, text) => void server.publish(topic, text))
    const url = `http://${hostInUrl(config.host)}:${server.port}`
    deps.publicUrl ||= url
    // Not before the port is ours: a generated password is shown once and must not be lost to a failed start.
    const firstAdmin = await createFirstAdmin(config, deps).catch(async (error: unknown) => {
      await server.stop(true)
      throw error
    })
    const stopPolling = deps.revocations.poll(revocationsIntervalMs[kind])
    housekeeping.start(options.housekeepingTimes)
    if (options.countsKept !== false) keptBytes.start()
    phase = 'serving'
    const delayMs = config.shutdownDelayMs ?? defaultShutdownDelayMs[kind]
    const leave = (): void => {
      phase = 'leaving'
    }
    const closeAll = async (): Promise<void> => {
      stopPolling()
      await close()
    }
    return {
      url,
      firstAdmin,
      deps,
      housekeeping,
      keptBytes,
      ...shutdown({ server, deps, log, delayMs, leave, closeAll }),
    }
  } catch (error) {
    await close()
    throw error
  }
}

function listen(app: App, { host, port }: Config, sharePort: boolean): Server<unknown> {
  // A second server on a taken port must fail, not share it; only workers of one program share theirs.
  try {
    app.listen({
      hostname: host,
      port,
      reusePort: sharePort,
      maxRequestBodySize: serverBodyLimitBytes,
      idleTimeout: 30,
      websocket: websocketOptions,
    })
  } catch (error) {
    throw cannotListen(error, host, port)
  }
  if (!app.server) throw new Error('the server did not start')
  return app.server
}

function createFirstAdmin(config: Config, { db, passwords }: AppDeps): Promise<FirstAdmin | null> {
  const { superAdminEmail: email, superAdminPassword: password } = config
  const given = email !== null && password !== null ? { email, password } : null
  return ensureSuperAdmin(db, passwords, given, config.databaseUrl === null)
}

interface ShutdownParts {
  server: Server<unknown>
  deps: AppDeps
  log: Logger
  delayMs: number
  leave: () => void
  closeAll: () => Promise<void>
}

function shutdown(parts: ShutdownParts): Pick<RunningServer, 'announceStop' | 'stop'> {
  const { server, deps, log, delayMs, leave, closeAll } = parts
  let isStopping = false
  return {
    async announceStop() {
      leave()
      if (delayMs > 0) log.info('stopping: no longer ready, still serving', { ms: delayMs })
      await Bun.sleep(delayMs)
    },
    async stop() {
      if (isStopping) return
      isStopping = true
      leave()
      log.info('stopping: finishing requests')
      const startedAt = performance.now()
      await Promise.all([
        deps.live.sockets.closeAll(),
        finishRequests(server, log, finishRequestsMs - delayMs),
      ])
      const msLeft = stopWithinMs - delayMs - (performance.now() - startedAt)
      if (await endsWithin(msLeft, closeAll())) log.info('stopped')
      else log.warn('closing took too long and was given up', { after_ms: stopWithinMs })
    },
  }
}

async function finishRequests(server: Server<unknown>, log: Logger, withinMs: number): Promise<void> {
  if (!(await endsWithin(withinMs, server.stop())))
    log.warn('some requests did not finish in time', { pending: server.pendingRequests })
  await server.stop(true)
}

/** Whether the work ends in time; if not, it goes on unattended. */
const endsWithin = (ms: number, work: Promise<unknown>): Promise<boolean> =>
  pTimeout(
    work.then(() => true),
    { milliseconds: Math.max(1, ms), fallback: () => false },
  )
