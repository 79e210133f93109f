/**
 * Rolling upgrades: while instances are replaced one by one, the previous release runs on the new schema. So a migration
 * only adds (expand); what is no longer used is removed by a later release (contract), whose migration is listed in
 * `contracts` with the release that stopped using it.
 */
import { expect, test } from 'bun:test'
import { migrations } from '../../../src/db/migrations/migrations.ts'
import { firstWithoutIt } from '../../../src/db/migrations/shared-role.ts'

/** Migrations from this version on are installed somewhere. */
const firstHeld = 3
const contracts: Readonly<Record<string, string>> = {}

/** Statements that loosen a rule, by migration: the release before meets no refusal that it does not know. */
const loosened: Readonly<Record<string, readonly RegExp[]>> = {
  // One account per address becomes one verified account, and one in a tenant. The trigger refuses by the old name.
  '0010_addresses': [
    /^CREATE UNIQUE INDEX "users_(verified|tenant)_email_key" /,
    /^CREATE TRIGGER users_email_room BEFORE INSERT ON users /,
    /^ALTER TABLE "users" DROP CONSTRAINT "users_email_key"/,
  ],
}

/** Why the previous release could not run on it; null if it could. */
function breach(statement: string, added: ReadonlySet<string>): string | null {
  const text = statement.replace(/--.*$/gm, '').replaceAll('"', '').replace(/\s+/g, ' ').trim()
  const onNew = (pattern: RegExp): boolean =>
    added.has(pattern.exec(text)?.[1]?.replace(/^public\./, '') ?? '')
  if (
    onNew(/^(?:ALTER|CREATE) TABLE (?:ONLY )?([\w.]+)/i) ||
    onNew(/^CREATE (?:UNIQUE )?INDEX \w+ ON ([\w.]+)/i) ||
    onNew(/^CREATE TRIGGER \w+ [A-Z ]+ ON ([\w.]+)/i)
  )
    return null
  if (/^ALTER TABLE [\w.]+ ADD COLUMN /i.test(text) && !/, (ADD|DROP|ALTER) /i.test(text)) {
    if (/\bNOT NULL\b/i.test(text) && !/\bDEFAULT\b/i.test(text))
      return 'rows of the release before lack the column'
    return /\b(CHECK|UNIQUE|REFERENCES|PRIMARY KEY)\b/i.test(text) ? 'a constraint it does not know' : null
  }
  if (/^ALTER TABLE [\w.]+ ALTER COLUMN \w+ SET DEFAULT [^,]*$/i.test(text)) return null
  if (/^CREATE INDEX /i.test(text)) return null
  if (/^CREATE FUNCTION /i.test(text)) return null
  // Its function is new, so it is there to fill in what is new.
  if (/^CREATE TRIGGER \w+ BEFORE INSERT OR UPDATE ON \w+ FOR EACH ROW EXECUTE FUNCTION /i.test(text))
    return onNew(/EXECUTE FUNCTION (\w+)/i) ? null : 'a trigger of a function that it has'
  if (/^CREATE POLICY /i.test(text))
    return !/\bAS RESTRICTIVE\b/i.test(text) || onNew(/ ON ([\w.]+)/i) || /\bFOR DELETE\b/i.test(text)
      ? null
      : 'a policy that hides rows from it'
  if (/^REVOKE .* ON FUNCTION /i.test(text))
    return added.has(/ON FUNCTION (\w+)/i.exec(text)?.[1] ?? '') ? null : 'a right it has'
  if (/^DO \$\$/i.test(text))
    return /\b(DROP|ALTER|REVOKE|DELETE|UPDATE|RENAME|TRUNCATE|EXECUTE)\b/i.test(
      text.replace(/GRANT [^;]*;/gi, ''),
    )
      ? 'more than rights that are added'
      : null
  return 'nothing known to be harmless'
}

const statementsOf = (up: string): string[] =>
  up.split('--> statement-breakpoint').filter((part) => part.trim() !== '')

const addedBy = (up: string): Set<string> =>
  new Set([...up.matchAll(/CREATE (?:TABLE|FUNCTION) "?(\w+)/gi)].map(([, name]) => name ?? ''))

test('the previous release can run on each migration’s schema', () => {
  for (const { version, name, up } of migrations) {
    if (version < firstHeld || name in contracts) continue
    const added = addedBy(up)
    const breaches = statementsOf(up).flatMap((statement) => {
      if (loosened[name]?.some((known) => known.test(statement.trim()))) return []
      const why = breach(statement, added)
      return why === null ? [] : [`${name}: ${why}: ${statement.trim().slice(0, 100)}`]
    })
    expect(breaches).toEqual([])
  }
})

test('what the service may do is listed in role.ts, and granted by no migration', () => {
  const granting = migrations.filter(({ version, up }) => version >= firstWithoutIt && /\bGRANT\b/i.test(up))
  expect(granting.map(({ name }) => name)).toEqual([])
})

test.each([
  'ALTER TABLE users DROP COLUMN full_name',
  'ALTER TABLE "users" RENAME COLUMN "full_name" TO "name"',
  'ALTER TABLE users RENAME TO people',
  'ALTER TABLE users ADD COLUMN phone text NOT NULL',
  'ALTER TABLE users ADD COLUMN phone text UNIQUE',
  'ALTER TABLE users ADD COLUMN phone text, DROP COLUMN email',
  'ALTER TABLE users ALTER COLUMN full_name SET NOT NULL',
  'ALTER TABLE users ALTER COLUMN token_epoch TYPE bigint',
  "ALTER TABLE items ADD CONSTRAINT c CHECK (name <> '')",
  'CREATE UNIQUE INDEX one_name ON items (name)',
  'DROP TABLE items',
  'DROP FUNCTION wire_time(timestamptz)',
  'DROP INDEX items_in_list_order',
  'DROP POLICY own_tenant ON users',
  'CREATE POLICY narrow ON users AS RESTRICTIVE FOR SELECT USING (false)',
  'REVOKE SELECT ON users FROM minimart_app',
  "DO $$ BEGIN EXECUTE 'ALTER TABLE users RENAME TO people'; END $$",
  'DELETE FROM users',
  'CREATE TRIGGER late AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION new_table()',
  'CREATE TRIGGER old BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION wire_time()',
  'CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION refuse()',
])('that would be noticed: %s', (statement) => {
  expect(breach(statement, new Set(['new_table']))).not.toBeNull()
})

test.each([
  'CREATE TABLE "new_table" (id uuid)',
  'ALTER TABLE new_table ADD CONSTRAINT c CHECK (true)',
  'CREATE UNIQUE INDEX one ON new_table (id)',
  'ALTER TABLE users ADD COLUMN phone text',
  "ALTER TABLE users ADD COLUMN phone text NOT NULL DEFAULT ''",
  'CREATE INDEX more ON users (full_name)',
  'CREATE TRIGGER fill BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION new_table()',
  'CREATE TRIGGER t BEFORE INSERT ON new_table FOR EACH ROW EXECUTE FUNCTION refuse()',
])('that is harmless: %s', (statement) => {
  expect(breach(statement, new Set(['new_table']))).toBeNull()
})
