import type { AccessTokens } from './access/access-tokens.ts'
import type { JwtSigner } from './access/jwt.ts'
import type { RateLimits } from './access/rate-limits.ts'
import type { Revocations } from './access/revocations.ts'
import type { Database } from './db/database.ts'
import type { Otps } from './features/auth/otp.ts'
import type { PasswordResets } from './features/auth/password-resets.ts'
import type { Passwords } from './features/auth/passwords.ts'
import type { Sessions } from './features/auth/sessions.ts'
import type { ListWriter } from './features/list-changes/change.ts'
import type { Background } from './lib/background.ts'
import type { Cursors } from './lib/cursor.ts'
import type { Logger } from './log.ts'
import type { Mailer } from './mail/mailer.ts'
import type { Store } from './store/store.ts'

/** What the features are built on, made once by server.ts. */
export interface Deps {
  readonly log: Logger
  readonly db: Database
  readonly store: Store
  /** Tells whoever follows a list what was committed. */
  readonly publish: ListWriter['publish']
  readonly mailer: Mailer
  readonly background: Background
  readonly limits: RateLimits
  readonly jwt: JwtSigner
  readonly cursors: Cursors
  readonly tokens: AccessTokens
  readonly revocations: Revocations
  readonly sessions: Sessions
  readonly passwords: Passwords
  readonly otps: Otps
  readonly passwordResets: PasswordResets
  /** Base of the links in mails, without a slash at its end. Set at last: it may be the port that was free. */
  publicUrl: string
  readonly otpTtlMinutes: number
  readonly invitationTtlHours: number
}
