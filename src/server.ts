/** Listens on what open-deps.ts has opened, and takes it all down again in order. */

import type { Server } from 'bun'
import { type App, type AppDeps, createApp } from './app.ts'
import type { Config } from './config/config.ts'
import type { Housekeeping, HousekeepingTimes } from './features/housekeeping/job.ts'
import { ensureSuperAdmin, type FirstAdmin } from './features/users/super-admin.ts'
import { cannotListen, ensureFree, hostInUrl } from './http/listening.ts'
import type { Logger } from './log.ts'
import { type OpenOptions, openDeps } from './open-deps.ts'
import type { Phase } from './operations/readiness.ts'
import { websocketOptions } from './realtime/routes.ts'

export interface RunningServer {
  /** Where it listens, e.g. `http://127.0.0.1:8000`. */
  readonly url: string
  readonly firstAdmin: FirstAdmin | null
  readonly deps: AppDeps
  readonly housekeeping: Housekeeping
  /** /readyz says 503 from here on and each answer ends its connection; all else goes on, for SHUTDOWN_DELAY_MS. */
  announceStop(): Promise<void>
  /** Stops accepting, finishes what has begun, sends waiting mail, closes. At most 8.5 seconds, the above counted. */
  stop(): Promise<void>
}

export interface StartOptions extends OpenOptions {
  /** For several workers of one program on one port. */
  sharePort?: boolean
  housekeepingTimes?: HousekeepingTimes
}

/** Above it Bun itself answers 413; below, http/body.ts does, with a body that says so. */
const serverBodyLimitBytes = 2 ** 30
/** Other instances' revocations must be known within a second; the embedded database has no other instance. */
const revocationsIntervalMs = { shared: 400, embedded: 20_000 }
const finishRequestsMs = 5000
/** Whoever stops a service kills it after 10 seconds. */
const stopWithinMs = 8500
/** A balancer that asks every second or so has seen it by then; without one, clients leave the connections they keep. */
const defaultShutdownDelayMs = { shared: 1000, embedded: 250 }

/**
 * @throws OperatorError or another Error whose message tells the operator what to do
 */
export async function start(config: Config, log: Logger, options: StartOptions = {}): Promise<RunningServer> {
  let phase: Phase = 'starting'
  let draining = false
  if (!options.sharePort) ensureFree(config)
  const { deps, housekeeping, close } = await openDeps(config, log, () => phase, options)
  const kind = config.databaseUrl === null ? 'embedded' : 'shared'
  const delayMs = config.shutdownDelayMs ?? defaultShutdownDelayMs[kind]
  try {
    const app = createApp(deps)
    const server = listen(app, config, options.sharePort ?? false)
    deps.live.useTopics((topic, text) => void server.publish(topic, text))
    const url = `http://${hostInUrl(config.host)}:${server.port}`
    deps.publicUrl ||= url
    // Only once the port is ours: the password made up here is shown once and must not be lost to a failed start.
    const firstAdmin = await makeFirstAdmin(config, deps).catch(async (error: unknown) => {
      await server.stop(true)
      throw error
    })
    const stopFollowing = deps.revocations.follow(revocationsIntervalMs[kind])
    housekeeping.start(options.housekeepingTimes)
    phase = 'serving'
    return {
      url,
      firstAdmin,
      deps,
      housekeeping,
      async announceStop() {
        phase = 'leaving'
        if (delayMs > 0) log.info('stopping: no longer ready, still serving', { ms: delayMs })
        await Bun.sleep(delayMs)
      },
      async stop() {
        if (draining) return
        draining = true
        phase = 'leaving'
        log.info('stopping: finishing requests')
        const begun = performance.now()
        await Promise.all([
          deps.live.sockets.closeAll(),
          finishRequests(server, log, finishRequestsMs - delayMs),
        ])
        stopFollowing()
        const leftMs = stopWithinMs - delayMs - (performance.now() - begun)
        if (await endsWithin(leftMs, close())) log.info('stopped')
        else log.warn('closing took too long and was given up', { after_ms: stopWithinMs })
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}

function listen(app: App, { host, port }: Config, sharePort: boolean): Server<unknown> {
  // A second server on a taken port must fail, not share it; only workers of one program do.
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

function makeFirstAdmin(config: Config, { db, passwords }: AppDeps): Promise<FirstAdmin | null> {
  const { superAdminEmail: email, superAdminPassword: password } = config
  const given = email !== null && password !== null ? { email, password } : null
  return ensureSuperAdmin(db, passwords, given, config.databaseUrl === null)
}

async function finishRequests(server: Server<unknown>, log: Logger, withinMs: number): Promise<void> {
  if (!(await endsWithin(withinMs, server.stop())))
    log.warn('some requests did not finish in time', { pending: server.pendingRequests })
  await server.stop(true)
}

/** Whether it does; where not, it goes on unwatched. */
async function endsWithin(ms: number, work: Promise<unknown>): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => resolve(false), ms)
  return await Promise.race([work.then(() => true), late]).finally(() => clearTimeout(timer))
}
