/** How the commands that go on until they are told to stop are told to. */
import type { Logger } from '../log.ts'
import type { RunningServer } from '../server.ts'

/**
 * Resolves at the first SIGTERM or SIGINT. To be called before anything else is begun: the first process of a
 * container does not even notice a signal that nothing listens for. A second signal does not hurry what the first
 * began: it is bounded anyway.
 */
export function stopSignal(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  // Kept for good: without them a second signal would end the process where it stands.
  process.on('SIGTERM', resolve)
  process.on('SIGINT', resolve)
  // The terminal it was started from is gone: that is no reason to stop serving.
  process.on('SIGHUP', () => undefined)
  return promise
}

/** What has been started, unless a signal comes first: what is half begun then is whole or undone, however it ends. */
export async function unlessStopped<T>(signal: Promise<void>, log: Logger, starting: Promise<T>): Promise<T> {
  const stopped = signal.then(() => 'stopped' as const)
  const outcome = await Promise.race([starting.then((started) => ({ started })), stopped])
  if (outcome !== 'stopped') return outcome.started
  log.info('stopped before it served')
  process.exit(0)
}

const lingerMs = 500

export async function stopAfter(
  signal: Promise<void>,
  server: Pick<RunningServer, 'stop'> & Partial<Pick<RunningServer, 'announceStop'>>,
): Promise<void> {
  await signal
  await server.announceStop?.()
  await server.stop()
  // A connection that a driver forgot to close must not keep the process from ending.
  setTimeout(() => process.exit(), lingerMs).unref()
}
