import { nginxAvailable } from './nginx.ts'
import { pgbouncerAvailable } from './pgbouncer.ts'
import { postgresAvailable } from './postgres.ts'
import { redisAvailable } from './redis.ts'

/** The parts of the suite that cannot run on this machine, one sentence each. */
export const missingServices = (): string[] => [
  ...(postgresAvailable ? [] : ['everything on PostgreSQL: none found, nor TEST_DATABASE_URL set']),
  ...(pgbouncerAvailable ? [] : ['everything behind PgBouncer: no pgbouncer found']),
  ...(nginxAvailable ? [] : ['everything behind nginx: no nginx found']),
  ...(redisAvailable ? [] : ['everything on Redis: no redis-server found, nor TEST_REDIS_URL set']),
]
