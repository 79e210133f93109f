/** Listening: whether an address is free, what to say when it is not, and how it is written in a URL. */
import { ConfigError } from '../config/config.ts'

/** IPv6 addresses go in brackets (RFC 3986, 3.2.2). */
export const hostInUrl = (host: string): string => (host.includes(':') ? `[${host}]` : host)

/**
 * Listens for a moment, so that a taken port is reported before anything else starts.
 * @throws ConfigError naming PORT or HOST
 */
export function ensureFree({ host, port }: { host: string; port: number }): void {
  try {
    Bun.listen({ hostname: host, port, exclusive: true, socket: { data() {} } }).stop(true)
  } catch (error) {
    throw cannotListen(error, host, port)
  }
}

/** Why listening failed, for the operator. Bun gives no code for a host name that it cannot resolve. */
export function cannotListen(error: unknown, host: string, port: number): ConfigError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return new ConfigError([sentences[code]?.(host, port) ?? otherwise(host, port, code)])
}

const sentences: Record<string, (host: string, port: number) => string> = {
  EADDRINUSE: (host, port) =>
    `PORT: port ${port} on ${host} is already in use by another program; stop it or choose another port`,
  EACCES: (_host, port) => `PORT: this user may not listen on port ${port}; choose one above 1023`,
  EMFILE: () => 'too many open files to listen; raise the limit (ulimit -n, LimitNOFILE=)',
}

const otherwise = (host: string, port: number, code: string): string =>
  `HOST: cannot listen on ${host}, port ${port}${code && ` (${code})`}; it must be an address of this machine`
