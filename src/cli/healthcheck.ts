import { OperatorError } from '../errors.ts'
import { hostInUrl } from '../http/listening.ts'
import type { Command } from './command.ts'
import { print } from './print.ts'
import { setUp } from './setup.ts'

const timeoutMs = 3000

export const healthcheck: Command = {
  summary: 'ask the running server whether it is ready, for containers',
  details: [
    'Requests /readyz at HOST and PORT, with a timeout of 3 seconds, and prints the answer, which is JSON.',
    'Exit code 0 when the server is ready, 1 when it is not, is stopping, or does not answer.',
    '',
    '  HEALTHCHECK CMD ["minimart", "healthcheck"]',
  ].join('\n'),
  async run() {
    const { config } = setUp()
    // A server that listens on all addresses is reachable on the loopback one.
    const host = config.host === '0.0.0.0' ? '127.0.0.1' : config.host === '::' ? '::1' : config.host
    const url = `http://${hostInUrl(host)}:${config.port}/readyz`
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) }).catch((error: unknown) => {
      throw new OperatorError(
        `${url} does not answer: ${error instanceof Error ? error.message : String(error)}`,
      )
    })
    await print(await response.text())
    return response.ok ? 0 : 1
  },
}
