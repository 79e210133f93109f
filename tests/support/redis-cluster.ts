/** A Redis Cluster for tests: three masters on free loopback ports, each a private server, joined by redis-cli. */
import { describe } from 'bun:test'
import { dirname, join } from 'node:path'
import { createClient } from 'redis'
import { redisProgram } from './redis.ts'
import { createService, folderWith, PortTaken, type Service, servicesRequired } from './service.ts'
import { until } from './until.ts'

export interface ClusterNode extends Omit<Service, 'folder' | 'end'> {
  readonly url: string
}

export interface TestCluster {
  readonly nodes: readonly [ClusterNode, ClusterNode, ClusterNode]
  /** Sends a command to one node and returns the answer as text. */
  ask(node: ClusterNode, ...words: string[]): Promise<string>
  /** Moves the slot of a subscribed sharded channel, as resharding does; the slot must hold no keys. */
  moveChannel(channel: string): Promise<void>
  /** Waits until every node sees all slots served. */
  whole(): Promise<void>
  end(): Promise<void>
}

const cli = redisProgram === null ? null : folderWith(['redis-cli'], [dirname(redisProgram)])

/** `describe`, skipped if no cluster can be started; on CI it runs and fails. */
export const describeCluster = describe.skipIf((redisProgram === null || cli === null) && !servicesRequired)

const masters = 3
const slots = 16_384

export async function startCluster(): Promise<TestCluster> {
  if (cli === null) throw new Error('There is no Redis Cluster: install redis-server and redis-cli')
  const services: (Service & { url: string })[] = []
  const end = async (): Promise<void> => {
    await Promise.all(services.map((service) => service.end()))
  }
  try {
    while (services.length < masters) services.push(await startNode())
    const [first, second, third] = services
    if (!first || !second || !third) throw new Error('a node is missing')
    const nodes = [first, second, third] as const
    await create(
      join(cli, 'redis-cli'),
      services.map(({ url }) => new URL(url).host),
    )
    const whole = async (): Promise<void> => {
      await until(
        async () => {
          const states = await Promise.all(nodes.map((node) => ask(node, 'CLUSTER', 'INFO').catch(() => '')))
          return states.every(
            (state) => state.includes('cluster_state:ok') && state.includes(`slots_ok:${slots}`),
          )
        },
        'a whole cluster',
        20_000,
      )
    }
    await whole()
    return { nodes, ask, moveChannel: (channel) => moveChannel(nodes, channel), whole, end }
  } catch (error) {
    await end()
    throw error
  }
}

async function startNode(tries = 5): Promise<Service & { url: string }> {
  const port = freePorts()
  const url = `redis://127.0.0.1:${port}`
  const service = await createService({
    name: 'redis-cluster',
    signals: { clean: 'INT', crash: 'KILL' },
    command: (folder) => [
      redisProgram ?? 'redis-server',
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no'],
      ...[
        '--cluster-enabled',
        'yes',
        '--cluster-config-file',
        'nodes.conf',
        '--cluster-node-timeout',
        '1500',
      ],
    ],
    probe: async () => void (await ask({ url }, 'PING')),
  })
  try {
    await service.start()
    return { ...service, url }
  } catch (error) {
    await service.end()
    if (error instanceof PortTaken && tries > 1) return startNode(tries - 1)
    throw error
  }
}

/** Nodes talk to each other on a second port, 10,000 above the first. */
function freePorts(): number {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    if (isFree(port) && isFree(port + 10_000)) return port
  }
}

function isFree(port: number): boolean {
  try {
    Bun.listen({ hostname: '127.0.0.1', port, socket: { data: () => undefined } }).stop(true)
    return true
  } catch {
    return false
  }
}

async function create(program: string, hosts: string[]): Promise<void> {
  const words = ['--cluster', 'create', ...hosts, '--cluster-replicas', '0', '--cluster-yes']
  const child = Bun.spawn([program, ...words], { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
  const [code, out, err] = await Promise.all([child.exited, child.stdout.text(), child.stderr.text()])
  if (code !== 0) throw new Error(`redis-cli made no cluster:\n${out}${err}`)
}

async function moveChannel(nodes: TestCluster['nodes'], channel: string): Promise<void> {
  const slot = await ask(nodes[0], 'CLUSTER', 'KEYSLOT', channel)
  // The subscription may just be moving after the previous slot.
  const { from, to } = await until(async () => {
    const channels = await Promise.all(nodes.map((node) => ask(node, 'PUBSUB', 'SHARDCHANNELS', channel)))
    const from = nodes.find((_, index) => channels[index] === channel)
    const to = nodes.find((_, index) => channels[index] !== channel)
    return from && to && { from, to }
  }, `a listener of ${channel}`)
  const id = await ask(to, 'CLUSTER', 'MYID')
  for (const node of [to, from, ...nodes]) await ask(node, 'CLUSTER', 'SETSLOT', slot, 'NODE', id)
}

async function ask({ url }: { url: string }, ...words: string[]): Promise<string> {
  const client = createClient({ url, socket: { reconnectStrategy: false, connectTimeout: 2000 } })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return String(await client.sendCommand(words))
  } finally {
    if (client.isOpen) client.destroy()
  }
}
