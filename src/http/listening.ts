/** Addresses to listen on: whether one can be had, what to say when not, and how it stands in a URL. */
import { ConfigError } from '../config/config.ts'

/** An IPv6 address stands in brackets there (RFC 3986, 3.2.2). */
export const hostInUrl = (host: string): string => (host.includes(':') ? `[${host}]` : host)

/**
 * Listens for a moment, so that a port which is taken is told before anything else is begun.
 * @throws ConfigError naming PORT or HOST
 */
export function ensureFree({ host, port }: { host: string; port: number }): void {
  try {
    Bun.listen({ hostname: host, port, exclusive: true, socket: { data() {} } }).stop(true)
  } catch (error) {
    throw cannotListen(error, host, port)
  }
}

/** What listening failed with, for the operator. Bun gives a name that it cannot resolve no code. */
export function cannotListen(error: unknown, host: string, port: number): ConfigError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return new ConfigError([sentences[code]?.(host, port) ?? otherwise(host, port, code)])
}

const sentences: Record<string, (host: string, port: number) => string> = {
  EADDRINUSE: (host, port) =>
    `PORT: port ${port} on ${host} is already in use by another program; stop it or choose another port`,
  EACCES: (_host, port) => `PORT: this user may not listen on port ${port}; choose one above 1023`,
  EMFILE: () => 'too many files are open to listen; allow more (ulimit -n, LimitNOFILE=)',
}

const otherwise = (host: string, port: number, code: string): string =>
  `HOST: cannot listen on ${host}, port ${port}${code && ` (${code})`}; it must be an address of this machine`
