/** Opens what the service is built on, and closes all of it again in order. */
import { availableParallelism } from 'node:os'
import { createAccessTokens } from './access/access-tokens.ts'
import { createKnownNetworks } from './access/known-networks.ts'
import { createRateLimits } from './access/rate-limits.ts'
import { createReadingLines } from './access/reading-lines.ts'
import { createRevocations } from './access/revocations.ts'
import type { AppDeps } from './app.ts'
import { recordExport } from './archive/export.ts'
import { type Control, openControl } from './backup/control-server.ts'
import type { Config } from './config/config.ts'
import { generatedSecret, prepareDataDir } from './data-dir/data-dir.ts'
import { completeRestore } from './data-dir/layout.ts'
import type { Database } from './db/database.ts'
import { readInstallation } from './db/installation.ts'
import { openDatabase } from './db/open.ts'
import { createFailedAttempts } from './features/auth/failed-attempts.ts'
import { createOtps } from './features/auth/otp.ts'
import { createPasswordResets } from './features/auth/password-resets.ts'
import { createPasswords, type HashParameters } from './features/auth/passwords.ts'
import { createSessions } from './features/auth/sessions.ts'
import { createHousekeeping } from './features/housekeeping/job.ts'
import { createKeptBytesCount } from './features/housekeeping/kept-bytes.ts'
import type { Quotas } from './features/list-changes/room.ts'
import { createTakenAddresses } from './features/users/taken-addresses.ts'
import { createJwtSigner } from './http/jwt-signer.ts'
import { createCursors } from './lib/cursor.ts'
import { deriveKey } from './lib/keys.ts'
import { remembered } from './lib/remembered.ts'
import type { Logger } from './log.ts'
import { createMailer } from './mail/mailer.ts'
import { createOutbox } from './mail/outbox.ts'
import { createSealing } from './mail/sealing.ts'
import { createMetrics, type Metrics } from './operations/metrics.ts'
import { type MetricsServer, startMetricsServer } from './operations/metrics-server.ts'
import { createReadiness, type Phase } from './operations/readiness.ts'
import { createLive } from './realtime/live.ts'
import { openStore } from './store/open.ts'
import { createLocalRateLimiter, createRateLimiter } from './store/rate-limiter.ts'
import { createUnfitReports } from './store/stored-json.ts'
import { openTracing } from './tracing/open.ts'

export interface OpenOptions {
  /** Replaces this process' own figures in /metrics; METRICS_PORT then belongs to the parent as well. */
  gatherMetrics?: (own: Metrics) => () => Promise<string>
  /** Cheap ones for tests that are not about passwords. */
  hashParameters?: HashParameters
}

const maxWaitingHashes = 64
/** However often it is scraped: making it takes longer than serving it. */
const metricsEveryMs = 1000
const sendMailsMs = 2500
const sendTracesMs = 1000

/** @throws OperatorError, or another Error whose message tells the operator what to do */
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
  const backends = await openBackends(config, log, hashParameters)
  const { db, store, mailer } = backends
  const quotas = quotasOf(config)
  const services = createServices(config, log, backends, [secret, ...config.jwtPreviousSecretKeys])
  const { live, limits, lines, outbox, failedAttempts } = services
  const { passwords } = backends
  const readiness = createReadiness({ db, store, live, phase })
  const sources = { mailer, outbox, passwords, live, limits, lines, failedAttempts, db, store, readiness }
  const metrics = createMetrics(sources)
  const served = { ...metrics, text: remembered(metricsEveryMs, gatherMetrics?.(metrics) ?? metrics.text) }
  const deps = {
    ...backends,
    ...services,
    publish: live.hub.publish,
    quotas,
    config,
    log,
    phase,
    readiness,
    metrics,
    servedMetrics: config.metricsPort === null ? served : null,
    publicUrl: config.publicUrl ?? '',
    otpTtlMinutes: config.otpTtlMinutes,
    invitationTtlHours: config.invitationTtlHours,
  } satisfies AppDeps
  const keptBytes = createKeptBytesCount(db, log, quotas.bytes)
  const housekeeping = createHousekeeping({
    config,
    db,
    store,
    mailer,
    limits,
    keptBytes,
    log,
    observe: metrics.countHousekeeping,
  })
  let metricsServer: MetricsServer | null = null
  let control: Control | null = null
  const close = async (): Promise<void> => {
    metrics.close()
    await metricsServer?.stop()
    // Housekeeping may wait for a mail to be sent, and records that it was.
    await Promise.all([housekeeping.stop(), keptBytes.stop(), outbox.drain(sendMailsMs)])
    await outbox.close()
    await live.close()
    await store.close()
    await control?.close()
    await db.close()
    await backends.tracing?.close(sendTracesMs)
  }
  try {
    await services.revocations.load()
    outbox.start()
    if (config.metricsPort !== null && !gatherMetrics) metricsServer = startMetricsServer(config, served, log)
    control = await openControlOf(config, log, db)
    return { deps, housekeeping, keptBytes, close }
  } catch (error) {
    await close()
    throw error
  }
}

const quotasOf = ({ tenantMaxLists: lists, tenantMaxMb }: Config): Quotas => ({
  lists,
  bytes: tenantMaxMb === null ? null : tenantMaxMb * 1024 ** 2,
})

type Backends = Awaited<ReturnType<typeof openBackends>>

/** What lies outside the process, and what needs to be loaded. */
async function openBackends(config: Config, log: Logger, hashParameters?: HashParameters) {
  const mailer = createMailer({ config, dataDir: config.dataDir, log })
  const passwords = await createPasswords({
    concurrency: availableParallelism(),
    maxWaiting: maxWaitingHashes,
    ...(hashParameters && { parameters: hashParameters }),
  })
  const tracing = await openTracing(config, log)
  const db = await openDatabase({ ...config, log, tracing, refusePending: !config.autoMigrate })
  const { redis, store } = await openSharedState(config, log, db).catch(async (error: unknown) => {
    await db.close()
    throw error
  })
  return { mailer, passwords, tracing, db, redis, store }
}

async function openSharedState({ redisUrl }: Config, log: Logger, db: Database) {
  const redis = redisUrl === null ? null : { url: redisUrl, installation: await readInstallation(db) }
  return { redis, store: await openStore({ redis, db, log }) }
}

/** @param secrets the signing key and the previous ones: each purpose has keys derived from them */
function createServices(
  config: Config,
  log: Logger,
  { db, redis, store, mailer }: Backends,
  secrets: readonly [string, ...string[]],
) {
  const [current, ...previous] = secrets
  const keysFor = (purpose: string) => ({
    key: deriveKey(current, purpose),
    previous: previous.map((secret) => deriveKey(secret, purpose)),
  })
  const accessTtlSeconds = config.accessTokenTtlMinutes * 60
  const jwt = createJwtSigner(secrets)
  const revocations = createRevocations(db, log, accessTtlSeconds)
  const tokens = createAccessTokens(jwt, revocations, accessTtlSeconds)
  const refresh = keysFor('refresh tokens')
  const codes = keysFor('one-time codes')
  const resets = keysFor('password resets')
  const mails = keysFor('mails')
  const reportUnfit = createUnfitReports(log)
  const limiter = createRateLimiter({ shared: store.sharedBuckets, log })
  const openLimiter = createLocalRateLimiter()
  const knownNetworks = createKnownNetworks(store, keysFor('known networks').key, reportUnfit)
  const limits = createRateLimits({ limiter, openLimiter, knownNetworks }, config)
  const lines = createReadingLines()
  const refreshTtlSeconds = config.refreshTokenTtlDays * 86_400
  return {
    jwt,
    revocations,
    tokens,
    live: createLive({
      redis: redis && { ...redis, keys: keysFor('broker') },
      ...{ db, log, tokens, revocations, limits, replays: lines.replays },
    }),
    failedAttempts: createFailedAttempts(db),
    knownNetworks,
    limits,
    lines,
    cursors: createCursors(keysFor('cursors').key),
    sessions: createSessions(store, refresh.key, refreshTtlSeconds, refresh.previous, reportUnfit),
    otps: createOtps(store, codes.key, config.otpTtlMinutes * 60, codes.previous, reportUnfit),
    takenAddresses: createTakenAddresses(store),
    passwordResets: createPasswordResets(store, resets.key, resets.previous, reportUnfit),
    outbox: createOutbox({ db, sealing: createSealing(mails.key, mails.previous), mailer, log }),
  }
}

/** Lets commands such as backup reach this server; only the embedded database needs it. */
async function openControlOf({ dataDir }: Config, log: Logger, db: Backends['db']): Promise<Control | null> {
  const { whileQuiesced } = db
  if (!whileQuiesced) return null
  return openControl({
    dataDir,
    db: { whileQuiesced },
    recordExport: (entry) => recordExport(db, entry),
    log,
  })
}
