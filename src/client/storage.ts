import type { User } from './types.ts'

export interface StoredSession {
  access_token: string
  refresh_token: string
  /** When the access token expires: milliseconds since 1970 by the clock of this device. */
  expires_at: number
  user: User
}

/**
 * Keeps a session, for example beyond a page's life. Pages may share one: each looks here for a newer session before
 * it uses the refresh token. What a method throws reaches the caller of the client.
 */
export interface TokenStorage {
  load(): StoredSession | null | Promise<StoredSession | null>
  save(session: StoredSession): void | Promise<void>
  clear(): void | Promise<void>
}

export function createMemoryStorage(): TokenStorage {
  let stored: StoredSession | null = null
  return {
    load: () => stored,
    save: (session) => {
      stored = session
    },
    clear: () => {
      stored = null
    },
  }
}
