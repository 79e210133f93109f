import { createInterface } from 'node:readline/promises'
import { email as readEmail } from '../config/setting.ts'
import { holdsDatabase } from '../data-dir/layout.ts'
import { DataDirTaken } from '../data-dir/lock.ts'
import type { Database } from '../db/database.ts'
import { openDatabase } from '../db/open.ts'
import { OperatorError } from '../errors.ts'
import { findHolders, type Holder, isLastSuperAdmin, releaseAddress } from '../features/auth/addresses.ts'
import { type Command, UsageError } from './command.ts'
import { print } from './print.ts'
import { setUp } from './setup.ts'

export const releaseAddressCommand: Command = {
  summary: 'free an e-mail address, whoever has it',
  usage: 'EMAIL [--yes] [--json]',
  details: [
    'For the owner of an address that an account holds: one of a tenant they have left, or that somebody else made. Every',
    'account with the address is deactivated and keeps a placeholder in its place. Its sessions end within a second; its',
    'memberships, what it wrote and its history stay. The audit trail of its tenant records the release.',
    '',
    '--yes    do not ask, even if an account is verified and active',
    '--json   print the result as one line of JSON',
    '',
    'An address that nobody has is free already: exit code 0. The last active super admin keeps theirs: create another',
    'first. It does not migrate. With PostgreSQL it works while instances serve; stop a server on the embedded database',
    'first, which only one process at a time can open.',
  ].join('\n'),
  positionals: 1,
  options: { yes: { type: 'boolean' }, json: { type: 'boolean' } },
  async run({ values, positionals: [given] }) {
    const email = readAddress(given)
    const released = await withDatabase(async (db) => {
      const holders = await findHolders(db, email)
      if (await isLastSuperAdmin(db, holders))
        throw new OperatorError(
          `${email} is the address of the only active super admin. Create another first: minimart create-admin.`,
        )
      if (values['yes'] !== true && holders.some(({ isActive, isVerified }) => isActive && isVerified))
        await confirm(email, holders)
      return await releaseAddress(db, email, holders)
    })
    await print(values['json'] === true ? asJson(email, released) : asText(email, released))
    return 0
  },
}

function readAddress(given = ''): string {
  if (given === '') throw new UsageError('Name the address: minimart release-address EMAIL.')
  try {
    return readEmail(given.trim())
  } catch (error) {
    throw new UsageError(`The address ${error instanceof Error ? error.message : String(error)}.`)
  }
}

async function withDatabase<T>(work: (db: Database) => Promise<T>): Promise<T> {
  const { config, log } = setUp({}, 'warn', process.stderr)
  const { databaseUrl, dataDir } = config
  if (databaseUrl === null && !holdsDatabase(dataDir))
    throw new OperatorError(
      `There is no embedded database in ${dataDir}. Set DATA_DIR to the folder of one, or DATABASE_URL for PostgreSQL.`,
    )
  const db = await openDatabase({ ...config, log, autoMigrate: false, refusePending: true }).catch(
    (error: unknown) => {
      throw error instanceof DataDirTaken
        ? new OperatorError(
            `A running MiniMart has the embedded database in ${dataDir} open. Stop it first; only with PostgreSQL can an ` +
              'address be released beside a server.',
          )
        : error
    },
  )
  return await work(db).finally(() => db.close())
}

/** @throws OperatorError unless the operator agrees, on a terminal */
async function confirm(email: string, holders: readonly Holder[]): Promise<void> {
  const about = `An account in use has ${email}:\n${holders.map(lineOf).join('\n')}`
  if (!process.stdin.isTTY) throw new OperatorError(`${about}\nRelease it all the same with --yes.`)
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await lines.question(`${about}\nDeactivate and release? [y/N] `).finally(() => lines.close())
  if (!/^y(es)?$/i.test(answer.trim())) throw new OperatorError('Nothing was changed.')
}

const lineOf = ({ tenantName, tenantSlug, id, role, isVerified, isActive }: Holder): string =>
  `  ${tenantName} (${tenantSlug}), user ${id}, ${role}, ${isVerified ? 'verified' : 'not verified'}, ` +
  `${isActive ? 'active' : 'deactivated'}`

const asText = (email: string, released: readonly Holder[]): string =>
  released.length === 0
    ? `Nobody has ${email}: it is free.`
    : `${email} is free now. It was that of:\n${released.map(lineOf).join('\n')}`

const asJson = (email: string, released: readonly Holder[]): string =>
  JSON.stringify({
    email,
    released: released.map(({ tenantId, tenantName, tenantSlug, id, role, isVerified, isActive }) => ({
      ...{ tenant_id: tenantId, tenant: tenantName, slug: tenantSlug, user_id: id, role },
      ...{ verified: isVerified, active: isActive },
    })),
  })
