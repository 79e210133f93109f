import { Value } from '@sinclair/typebox/value'
import { openDatabase } from '../db/open.ts'
import { OperatorError } from '../errors.ts'
import { createPasswords } from '../features/auth/passwords.ts'
import { createSuperAdmin } from '../features/users/super-admin.ts'
import { Email, Name, NewPassword } from '../http/fields.ts'
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
    const email = normalise('--email', String(values['email'] ?? '').trim()).toLowerCase()
    const fullName = normalise('--name', String(values['name'] ?? 'Super Admin').trim())
    if (!Value.Check(Email, email)) throw new UsageError('--email must be an e-mail address.')
    if (!Value.Check(Name, fullName)) throw new UsageError('--name must have 1 to 255 characters.')
    const { config, log } = setUp({}, 'warn', process.stderr)
    const password = normalise('The password', await readPassword(`Password for ${email}: `))
    if (!Value.Check(NewPassword, password))
      throw new OperatorError('The password must have 8 to 128 characters.')
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

function normalise(what: string, text: string): string {
  if (!isStreamSafe(text))
    throw new UsageError(`${what} must not have more than ${maxCombiningMarks} combining marks in a row.`)
  return text.normalize('NFC')
}
