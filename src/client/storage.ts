import type { User } from './types.ts'

export interface StoredSession {
  access_token: string
  refresh_token: string
  /** Milliseconds since 1970 by this device's clock, when the access token ends. */
  expires_at: number
  user: User
}

/**
 * Where a session outlives the page. Two pages may share one storage: each looks here for newer tokens before it
 * uses up the refresh token. Whatever a method throws reaches the caller.
 */
export interface TokenStorage {
  load(): StoredSession | null | Promise<StoredSession | null>
  save(session: StoredSession): void | Promise<void>
  clear(): void | Promise<void>
}

export function createMemoryStorage(): TokenStorage {
  let kept: StoredSession | null = null
  return {
    load: () => kept,
    save: (session) => {
      kept = session
    },
    clear: () => {
      kept = null
    },
  }
}
