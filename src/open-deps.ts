/** Opens what the service stands on; what it answers closes all of it again, in order. */

import { availableParallelism } from 'node:os'
import { createAccessTokens } from './access/access-tokens.ts'
import { createRateLimits } from './access/rate-limits.ts'
import { createRevocations } from './access/revocations.ts'
import type { AppDeps } from './app.ts'
import { recordExport } from './archive/export.ts'
import { type Control, openControl } from './backup/control-server.ts'
import type { Config } from './config/config.ts'
import { generatedSecret, prepareDataDir } from './data-dir/data-dir.ts'
import { completeRestore } from './data-dir/layout.ts'
import { openDatabase } from './db/open.ts'
import { createOtps } from './features/auth/otp.ts'
import { createPasswordResets } from './features/auth/password-resets.ts'
import { createPasswords, type HashParameters } from './features/auth/passwords.ts'
import { createSessions } from './features/auth/sessions.ts'
import { createHousekeeping } from './features/housekeeping/job.ts'
import { createJwtSigner } from './http/jwt-signer.ts'
import { createBackground } from './lib/background.ts'
import { createCursors } from './lib/cursor.ts'
import { deriveKey } from './lib/keys.ts'
import type { Logger } from './log.ts'
import { createMailer } from './mail/mailer.ts'
import { createMetrics, type Metrics } from './operations/metrics.ts'
import { type MetricsServer, startMetricsServer } from './operations/metrics-server.ts'
import type { Phase } from './operations/readiness.ts'
import { createLive } from './realtime/live.ts'
import { openStore } from './store/open.ts'
import { createRateLimiter } from './store/rate-limiter.ts'
import { openTracing } from './tracing/tracing.ts'

export interface OpenOptions {
  /** What /metrics tells in place of this process' own figures; METRICS_PORT is then somebody else's, too. */
  gatherMetrics?: (own: Metrics) => () => Promise<string>
  /** Cheap ones for tests that are not about passwords. */
  hashParameters?: HashParameters
}

const maxWaitingHashes = 64
const maxBackgroundWork = 500
const sendMailsMs = 2500
const sendTracesMs = 1000

/** @throws OperatorError or another Error whose message tells the operator what to do */
export async function openDeps(
  config: Config,
  log: Logger,
  phase: () => Phase,
  { gatherMetrics, hashParameters }: OpenOptions,
) {
  prepareDataDir(config.dataDir)
  // Before the key is read: a restore brings its own.
  if (config.databaseUrl === null) completeRestore(config.dataDir)
  const secret = config.jwtSecretKey ?? generatedSecret(config.dataDir)
  const key = (purpose: string): Buffer => deriveKey(secret, purpose)
  const previousKeys = (purpose: string): Buffer[] =>
    config.jwtPreviousSecretKeys.map((previous) => deriveKey(previous, purpose))
  const accessTtlSeconds = config.accessTokenTtlMinutes * 60
  const mailer = createMailer({ config, dataDir: config.dataDir, log })
  const passwords = await createPasswords({
    concurrency: availableParallelism(),
    maxWaiting: maxWaitingHashes,
    ...(hashParameters && { parameters: hashParameters }),
  })
  const tracing = await openTracing(config, log)
  const db = await openDatabase({ ...config, log, tracing, refusePending: !config.autoMigrate })
  const store = await openStore({ redisUrl: config.redisUrl, db, log }).catch(async (error: unknown) => {
    await db.close()
    throw error
  })
  const jwt = createJwtSigner([secret, ...config.jwtPreviousSecretKeys])
  const revocations = createRevocations(db, log, accessTtlSeconds)
  const background = createBackground(log, maxBackgroundWork)
  const tokens = createAccessTokens(jwt, revocations, accessTtlSeconds)
  const live = createLive({ config, db, log, tokens, revocations })
  const limits = createRateLimits(createRateLimiter({ shared: store.sharedBuckets, log }), config)
  const metrics = createMetrics({ mailer, passwords, live, limits, db, store, phase })
  const served = { ...metrics, text: gatherMetrics?.(metrics) ?? metrics.text }
  let metricsServer: MetricsServer | null = null
  const deps: AppDeps = {
    live,
    publish: live.hub.publish,
    config,
    log,
    db,
    store,
    mailer,
    passwords,
    revocations,
    background,
    phase,
    jwt,
    metrics,
    servedMetrics: config.metricsPort === null ? served : null,
    tracing,
    limits,
    cursors: createCursors(key('cursors')),
    tokens,
    sessions: createSessions(
      store,
      key('refresh tokens'),
      config.refreshTokenTtlDays * 86_400,
      previousKeys('refresh tokens'),
    ),
    otps: createOtps(store, key('one-time codes'), config.otpTtlMinutes * 60, previousKeys('one-time codes')),
    passwordResets: createPasswordResets(store, key('password resets'), previousKeys('password resets')),
    publicUrl: config.publicUrl ?? '',
    otpTtlMinutes: config.otpTtlMinutes,
    invitationTtlHours: config.invitationTtlHours,
  }
  const housekeeping = createHousekeeping({
    config,
    db,
    store,
    mailer,
    log,
    observe: deps.metrics.countHousekeeping,
  })
  let control: Control | null = null
  const close = async (): Promise<void> => {
    metrics.close()
    await metricsServer?.stop()
    // It may wait for a mail to go out, and notes when one has.
    const tidy = housekeeping.stop()
    await background.drain()
    await mailer.drain(sendMailsMs)
    await tidy
    await live.close()
    await store.close()
    await control?.close()
    await db.close()
    await tracing?.close(sendTracesMs)
  }
  try {
    await revocations.load()
    if (config.metricsPort !== null && !gatherMetrics) metricsServer = startMetricsServer(config, served, log)
    if (db.atRest)
      control = await openControl({
        dataDir: config.dataDir,
        db: { atRest: db.atRest },
        recordExport: (entry) => recordExport(db, entry),
        log,
      })
    return { deps, housekeeping, close }
  } catch (error) {
    await close()
    throw error
  }
}
