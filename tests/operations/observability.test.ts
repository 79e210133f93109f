/** What an operator sees of the executable: its metrics, its traces, and its readiness while it stops. */
import { afterAll, describe, expect, test } from 'bun:test'
import { connect } from 'node:net'
import { startCollector } from '../support/collector.ts'
import { scrape, sumOf } from '../support/metrics.ts'
import { createProgram, executableBuilt, fullEnvironmentFor, type Running } from '../support/program.ts'
import { describeFull } from '../support/server.ts'
import { onFreePort } from '../support/service.ts'
import { startInbox } from '../support/smtp.ts'
import { until } from '../support/until.ts'

const program = createProgram(executableBuilt ? 'executable' : 'source')
afterAll(program.clean)

/** Fetched on a new connection, as a balancer's probe would. */
const status = async (url: string): Promise<number | 'refused'> =>
  fetch(url, { headers: { connection: 'close' } }).then(
    (response) => response.status,
    () => 'refused' as const,
  )

/** Sends SIGTERM and keeps polling until the program is gone. */
async function watchStopping(
  running: Running,
  processes = 1,
): Promise<{ ready: unknown[]; alive: unknown[]; code: number; ms: number }> {
  const ready: unknown[] = []
  const alive: unknown[] = []
  const begun = performance.now()
  running.signal('SIGTERM')
  const announced = () => running.output().split('stopping: no longer ready').length - 1
  await until(() => announced() === processes, 'the announcement of each process')
  const gone = async (): Promise<boolean> => {
    ready.push(await status(`${running.url}/readyz`))
    alive.push(await status(`${running.url}/healthz`))
    return ready.at(-1) === 'refused'
  }
  await until(gone, 'the end')
  return { ready, alive, code: await running.exited, ms: performance.now() - begun }
}

describe('the program', () => {
  test('prints a dashboard and alert rules that can be piped into files', async () => {
    const dashboard = await program.run(['dashboard'])
    expect(dashboard).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(dashboard.stdout)).toMatchObject({
      title: 'MiniMart',
      __inputs: [{ name: 'DS_PROMETHEUS' }],
    })
    const alerts = await program.run(['alerts'])
    expect(alerts).toMatchObject({ code: 0, stderr: '' })
    expect(Bun.YAML.parse(alerts.stdout)).toHaveProperty(['groups', 0, 'name'], 'minimart')
    const { stdout } = await program.run(['help'])
    expect(stdout).toMatch(/^ +dashboard +\S/m)
    expect(stdout).toMatch(/^ +alerts +\S/m)
  })

  test('exports traces, the last ones too, and is not ready for SHUTDOWN_DELAY_MS before it drains', async () => {
    const collector = startCollector()
    const env = {
      PORT: '0',
      SHUTDOWN_DELAY_MS: '700',
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_BSP_SCHEDULE_DELAY: '60000',
    }
    const running = await (await program.start([], { env })).ready()
    expect(await status(`${running.url}/readyz`)).toBe(200)
    expect(sumOf(await scrape(`${running.url}/metrics`), 'minimart_ready', { part: 'service' })).toBe(1)
    const { ready, alive, code, ms } = await watchStopping(running)
    expect(code).toBe(0)
    expect(ms).toBeGreaterThan(700)
    expect(ms).toBeLessThan(10_000)
    expect(ready.length).toBeGreaterThan(5)
    expect(new Set(ready)).toEqual(new Set([503, 'refused']))
    expect(ready.indexOf('refused')).toBe(ready.length - 1)
    expect(alive.slice(0, -1).every((answer) => answer === 200 || answer === 'refused')).toBe(true)
    expect(alive.filter((answer) => answer === 200).length).toBeGreaterThan(5)
    expect(collector.spans.map(({ name }) => name)).toContain('GET /readyz')
    await collector.stop()
  })
})

describeFull('workers', () => {
  const free = (): Promise<string> => onFreePort(async (port) => String(port))
  const setUp = async () => {
    const inbox = await startInbox()
    const { env: usual, database } = await fullEnvironmentFor(inbox, await program.folder())
    const env = {
      ...usual,
      PORT: await free(),
      WORKERS: '2',
      SHUTDOWN_DELAY_MS: '700',
    }
    return { env, inbox, database, metricsPort: await free() }
  }

  test('report their metrics when out of file descriptors, and survive', async () => {
    const { env, inbox, database, metricsPort } = await setUp()
    const limit = 150
    const under = ['prlimit', `--nofile=${limit}:${limit}`]
    const started = await program.start([], { env: { ...env, METRICS_PORT: metricsPort }, under })
    const { url } = await started.ready()
    const openIn = async (): Promise<number[]> => {
      const found = await scrape(`http://127.0.0.1:${metricsPort}/metrics`)
      return found.find(({ name }) => name === 'process_open_fds')?.samples.map(({ value }) => value) ?? []
    }
    await until(async () => (await openIn()).length === 2, 'both workers')
    // Silent, as an answer would close the connection when few descriptors are left.
    const sockets = Array.from({ length: 3 * limit }, () =>
      connect(Number(new URL(url).port), '127.0.0.1').on('error', () => undefined),
    )
    try {
      await until(async () => {
        const open = await openIn()
        return open.length === 2 && open.every((count) => count >= limit - 1)
      }, 'both workers at their limit')
      for (const socket of sockets) socket.destroy()
      await until(async () => (await status(`${url}/readyz`)) === 200, 'an answer again')
      expect(started.output()).not.toContain('a worker ended')
    } finally {
      for (const socket of sockets) socket.destroy()
      started.signal('SIGTERM')
      await started.exited
      await inbox.stop()
      await database.drop()
    }
  })

  test('answer a scrape as one: whichever is asked reports all, and METRICS_PORT is bound once', async () => {
    const { env, inbox, database, metricsPort } = await setUp()
    const workersIn = async (url: string): Promise<string[]> => {
      const found = await scrape(url)
      const build = found.find(({ name }) => name === 'minimart_build_info')
      return build?.samples.map(({ labels }) => labels['worker'] ?? '').sort() ?? []
    }
    const both = (url: string) =>
      until(async () => (await workersIn(url).catch(() => [])).join() === '1,2', 'both workers')
    try {
      const shared = await (await program.start([], { env })).ready()
      await both(`${shared.url}/metrics`)
      for (let count = 0; count < 8; count++) {
        const begun = performance.now()
        const found = await workersIn(`${shared.url}/metrics`)
        // One is left out only where it has not answered within 3 s.
        if (found.length < 2) expect(performance.now() - begun).toBeGreaterThan(2900)
        else expect(found).toEqual(['1', '2'])
      }
      const counted = await until(async () => {
        const families = await scrape(`${shared.url}/metrics`)
        const route = { route: '/metrics' }
        return sumOf(families, 'minimart_http_request_duration_seconds_count', route) >= 8 && families
      }, 'the scrapes of both workers')
      expect(sumOf(counted, 'process_start_time_seconds', { worker: '1' })).not.toBe(
        sumOf(counted, 'process_start_time_seconds', { worker: '2' }),
      )
      const { ready, code } = await watchStopping(shared, 2)
      expect(code).toBe(0)
      expect(new Set(ready).difference(new Set([503, 'refused']))).toEqual(new Set())

      const apart = await (await program.start([], { env: { ...env, METRICS_PORT: metricsPort } })).ready()
      await both(`http://127.0.0.1:${metricsPort}/metrics`)
      expect(await status(`${apart.url}/metrics`)).toBe(404)
      apart.signal('SIGTERM')
      expect(await apart.exited).toBe(0)
    } finally {
      await program.clean()
      await inbox.stop()
      await database.drop()
    }
  })
})
