/** Shutdown by signal, for the commands that run a server. */
import type { Logger } from '../log.ts'
import type { RunningServer } from '../server.ts'

/**
 * Resolves at the first SIGTERM or SIGINT; further ones are ignored, since a shutdown takes a bounded time. Call it
 * before anything else: the first process of a container ignores signals it has no handler for.
 */
export function shutdownSignal(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  // `on`, not `once`: without a handler the second signal would kill the process.
  process.on('SIGTERM', resolve)
  process.on('SIGINT', resolve)
  // A server outlives the terminal it was started from.
  process.on('SIGHUP', () => undefined)
  return promise
}

/** Exits if the signal comes first: every step of a start is atomic, so it may be cut off anywhere. */
export async function startUnlessSignalled<T>(
  signal: Promise<void>,
  log: Logger,
  starting: Promise<T>,
): Promise<T> {
  const signalled = signal.then(() => null)
  const outcome = await Promise.race([starting.then((started) => ({ started })), signalled])
  if (outcome !== null) return outcome.started
  log.info('stopped before it served')
  process.exit(0)
}

const exitAfterMs = 500

export async function stopOn(
  signal: Promise<void>,
  server: Pick<RunningServer, 'stop'> & Partial<Pick<RunningServer, 'announceStop'>>,
): Promise<void> {
  await signal
  await server.announceStop?.()
  await server.stop()
  // A connection that a driver left open must not keep the process alive.
  setTimeout(() => process.exit(), exitAfterMs).unref()
}
