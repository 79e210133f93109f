import { Value } from '@sinclair/typebox/value'
import { newPassword, email as readEmail } from '../config/setting.ts'
import { openDatabase } from '../db/open.ts'
import { OperatorError } from '../errors.ts'
import { createPasswords } from '../features/auth/passwords.ts'
import { createSuperAdmin } from '../features/users/super-admin.ts'
import { Name } from '../http/fields.ts'
import { isStreamSafe, maxCombiningMarks } from '../lib/unicode.ts'
import { type Command, UsageError } from './command.ts'
import { readPassword } from './password-prompt.ts'
import { print } from './print.ts'
import { setUp } from './setup.ts'

export const createAdmin: Command = {
  summary: 'create a super admin',
  usage: '--email ADDRESS [--name NAME]',
  details: [
    'Prompts for the password, 8 to 128 characters, or reads it from the first line of standard input:',
    '  minimart create-admin --email me@example.com --name "Me Myself" < file',
    '',
    'The address counts as verified. Pending migrations are applied first, unless AUTO_MIGRATE=false. Stop the server',
    'first if it uses the embedded database, which only one process at a time can open.',
  ].join('\n'),
  options: { email: { type: 'string' }, name: { type: 'string' } },
  async run({ values }) {
    const email = read('--email', UsageError, () => readEmail(String(values['email'] ?? '').trim()))
    const fullName = readName(String(values['name'] ?? 'Super Admin').trim())
    const { config, log } = setUp({}, 'warn', process.stderr)
    const typed = await readPassword(`Password for ${email}: `)
    const password = read('The password', OperatorError, () => newPassword(typed))
    const passwords = await createPasswords({ concurrency: 1, maxWaiting: 1 })
    const db = await openDatabase({ ...config, log })
    try {
      await createSuperAdmin(db, passwords, { email, fullName, password })
    } finally {
      await db.close()
    }
    await print(`${email} can now sign in as super admin.`)
    return 0
  },
}

/** @throws the error of `kind`, about `what`, when `parse` refuses */
function read(what: string, kind: new (message: string) => Error, parse: () => string): string {
  try {
    return parse()
  } catch (error) {
    throw new kind(`${what} ${error instanceof Error ? error.message : String(error)}.`)
  }
}

function readName(raw: string): string {
  if (!isStreamSafe(raw))
    throw new UsageError(`--name must not have more than ${maxCombiningMarks} combining marks in a row.`)
  const name = raw.normalize('NFC')
  if (!Value.Check(Name, name)) throw new UsageError('--name must have 1 to 255 characters.')
  return name
}
