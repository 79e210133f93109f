import { withMigrationConnection } from '../db/client.ts'
import { migrateDown, migrateUp } from '../db/migrate.ts'
import { migrationStatus } from '../db/migration-state.ts'
import { type Command, UsageError } from './command.ts'
import { setUp } from './setup.ts'

export const migrate: Command = {
  summary: 'bring the database up to date, take steps back, or tell how it stands',
  usage: 'up | down [n] | status',
  details: [
    'up       applies what is pending, each migration in a transaction of its own',
    'down n   takes the last n steps back (1 if left out); what those steps hold is lost',
    'status   lists the migrations and when each was applied',
  ].join('\n'),
  positionals: 2,
  async run({ positionals: [direction, count, ..._] }) {
    const steps = direction === 'down' ? readSteps(count) : null
    if (!['up', 'down', 'status'].includes(direction ?? '') || (steps === null && count !== undefined))
      throw new UsageError('Say: minimart migrate up, minimart migrate down [n], or minimart migrate status.')
    const { config, log } = setUp()
    const options = { ...config, log, autoMigrate: false }
    await withMigrationConnection(options, async (connection) => {
      if (direction === 'status') {
        for (const { version, name, appliedAt } of await migrationStatus(connection))
          console.log(`${String(version).padStart(4, '0')}  ${name.padEnd(32)}  ${appliedAt ?? 'pending'}`)
        return
      }
      const done =
        steps === null ? await migrateUp(connection, options) : await migrateDown(connection, options, steps)
      console.log(done.length === 0 ? 'Nothing to do.' : `${direction}: ${done.join(', ')}`)
    })
    return 0
  },
}

function readSteps(count = '1'): number {
  if (!/^[1-9]\d{0,3}$/.test(count))
    throw new UsageError('The number of steps must be a whole number from 1.')
  return Number(count)
}
