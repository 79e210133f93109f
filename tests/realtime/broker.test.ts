/** Both brokers give the same guarantees. */
import { describe } from 'bun:test'
import { createLocalBroker } from '../../src/realtime/broker.ts'
import { createRedisBroker } from '../../src/realtime/broker-redis.ts'
import { recordingLogger } from '../support/log.ts'
import { describeRedis, testRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { brokerSuite, party, sameInstallation } from './broker-suite.ts'

describe('the local broker', () => {
  brokerSuite(async () => {
    const own = party(createLocalBroker)
    return [own, own]
  })
})

describeRedis('the Redis broker', () => {
  brokerSuite(async () => {
    const { url } = await testRedis()
    const options = { url, log: recordingLogger(), ...sameInstallation() }
    const make = () => party((handlers) => createRedisBroker(options, handlers))
    const [a, b] = [make(), make()]
    // A broker drops what it is given to publish before its first connection.
    await until(() => a.reconnects() > 0 && b.reconnects() > 0, 'both connections')
    return [a, b]
  })
})
