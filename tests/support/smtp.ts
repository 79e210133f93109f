/** A real mail server on a free loopback port: records what it receives and can be made to misbehave. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import PostalMime, { type Email } from 'postal-mime'
import { SMTPServer, type SMTPServerDataStream } from 'smtp-server'
import { until } from './until.ts'

export interface ReceivedMail {
  /** The envelope's recipient, lower case. */
  to: string
  from: string
  /** The message as received. */
  raw: string
  parsed: Email
  text: string
  html: string
  subject: string
  /** Whether the connection was encrypted. */
  encrypted: boolean
  /** The user the client authenticated as. */
  user: string | null
}

/**
 * What the server does from now on: accept mails; answer a stage with an SMTP code (4xx temporary, 5xx permanent);
 * stop responding at a stage; or cut all connections when a message arrives.
 */
export type Behaviour =
  | 'accept'
  | 'drop'
  | { refuseWith: number; at: 'connect' | 'recipient' | 'message'; text?: string }
  | { hangAt: 'connect' | 'message' }

export interface Inbox {
  readonly host: string
  readonly port: number
  /** PEM of the server's certificate, if it speaks TLS. */
  readonly certificate: string | null
  readonly mails: readonly ReceivedMail[]
  /** Messages begun, whether accepted or not. */
  readonly attempts: () => number
  readonly openConnections: () => number
  behave(behaviour: Behaviour): void
  /** The first recorded mail to the address that `fits`, each returned only once. Throws after the deadline. */
  waitFor(address: string, fits?: (mail: ReceivedMail) => boolean, timeoutMs?: number): Promise<ReceivedMail>
  stop(): Promise<void>
}

export interface InboxOptions {
  encryption?: 'none' | 'starttls' | 'tls'
  /** Without credentials, authentication is not offered. */
  credentials?: { user: string; password: string }
  /** 0, the default, picks a free port. */
  port?: number
}

export async function startInbox({
  encryption = 'none',
  credentials,
  port = 0,
}: InboxOptions = {}): Promise<Inbox> {
  const mails: ReceivedMail[] = []
  const handedOut = new WeakSet<ReceivedMail>()
  const sockets = new Set<Socket>()
  let behaviour: Behaviour = 'accept'
  let attempts = 0
  const identity = encryption === 'none' ? null : await selfSigned()

  const obstacleAt = (stage: 'connect' | 'recipient' | 'message'): 'hang' | Error | null => {
    if (typeof behaviour === 'string') return null
    if ('hangAt' in behaviour) return behaviour.hangAt === stage ? 'hang' : null
    if (behaviour.at !== stage) return null
    return Object.assign(new Error(behaviour.text ?? 'as requested by the test'), {
      responseCode: behaviour.refuseWith,
    })
  }
  const proceed = (obstacle: 'hang' | Error | null, next: (error?: Error | null) => void): void => {
    if (obstacle !== 'hang') next(obstacle)
  }

  const server = new SMTPServer({
    secure: encryption === 'tls',
    ...(identity === null ? {} : { key: identity.key, cert: identity.certificate }),
    disabledCommands: [
      ...(encryption === 'starttls' ? [] : ['STARTTLS']),
      ...(credentials === undefined ? ['AUTH'] : []),
    ],
    allowInsecureAuth: true,
    disableReverseLookup: true,
    logger: false,
    closeTimeout: 1,
    onConnect: (_session, next) => proceed(obstacleAt('connect'), next),
    onAuth: (attempt, _session, next) =>
      attempt.username === credentials?.user && attempt.password === credentials?.password
        ? next(null, { user: attempt.username })
        : next(new Error('wrong user or password')),
    onRcptTo: (_address, _session, next) => proceed(obstacleAt('recipient'), next),
    onData: (stream, session, next) => {
      attempts++
      void readAll(stream).then(async (raw) => {
        if (behaviour === 'drop') {
          for (const socket of sockets) socket.destroy()
          return
        }
        const obstacle = obstacleAt('message')
        if (obstacle === null) {
          const parsed = await PostalMime.parse(raw)
          for (const { address } of session.envelope.rcptTo)
            mails.push({
              to: address.toLowerCase(),
              from: session.envelope.mailFrom ? session.envelope.mailFrom.address : '',
              raw,
              parsed,
              text: parsed.text ?? '',
              html: parsed.html ?? '',
              subject: parsed.subject ?? '',
              encrypted: session.secure,
              user: session.user ?? null,
            })
        }
        proceed(obstacle, next)
      }, clientHungUp)
    },
  })
  server.on('error', clientHungUp)
  server.server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve, reject) => {
    server.server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  const address = server.server.address()
  if (address === null || typeof address === 'string') throw new Error('the mail server has no port')

  return {
    host: '127.0.0.1',
    port: address.port,
    certificate: identity?.certificate ?? null,
    mails,
    attempts: () => attempts,
    openConnections: () => sockets.size,
    behave: (next) => {
      behaviour = next
    },
    waitFor: async (to, fits = () => true, timeoutMs) => {
      const found = await until(
        () => mails.find((mail) => mail.to === to.toLowerCase() && !handedOut.has(mail) && fits(mail)),
        () => `such a mail to ${to}, beside ${mails.map((m) => `${m.to} (${m.subject})`).join(', ')},`,
        timeoutMs,
      )
      handedOut.add(found)
      return found
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

/** The one-time code of a mail; throws unless it contains exactly one six-digit number. */
export function codeIn(mail: Pick<ReceivedMail, 'text'>): string {
  const [code, ...more] = mail.text.match(/\d{6,}/g) ?? []
  if (code?.length !== 6 || more.length > 0) throw new Error(`not exactly one code in: ${mail.text}`)
  return code
}

/** The link of an invitation or password mail; throws if there is none. */
export function linkIn(mail: Pick<ReceivedMail, 'text'>): URL {
  const [link] = mail.text.match(/https?:\/\/\S+\?token=\S+/) ?? []
  if (link === undefined) throw new Error(`no link in: ${mail.text}`)
  return new URL(link)
}

/** Clients that hang up early, also in the middle of a message, are part of the tests. */
const clientHungUp = (): void => undefined

async function readAll(stream: SMTPServerDataStream): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

interface Identity {
  key: string
  certificate: string
}

let identityPromise: Promise<Identity> | undefined

/** A certificate for localhost and 127.0.0.1, created once per test process. */
const selfSigned = (): Promise<Identity> => {
  identityPromise ??= makeIdentity()
  return identityPromise
}

async function makeIdentity(): Promise<Identity> {
  const folder = await mkdtemp(join(tmpdir(), 'minimart-certificate-'))
  try {
    const [keyFile, certificateFile] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
    await Bun.$`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout ${keyFile} -out ${certificateFile}`.quiet()
    return { key: await readFile(keyFile, 'utf8'), certificate: await readFile(certificateFile, 'utf8') }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
