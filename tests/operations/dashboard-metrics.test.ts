/** The dashboard and the alert rules query only metrics that a running server exposes. */
import { beforeAll, describe, expect, test } from 'bun:test'
import alertRules from '../../src/operations/alerts.yml' with { type: 'text' }
import dashboard from '../../src/operations/dashboard.json' with { type: 'json' }
import { type Family, scrape } from '../support/metrics.ts'
import { sharedServer } from '../support/server.ts'

interface Rule {
  alert: string
  expr: string
  for?: string
  labels: { severity: string }
  annotations: { summary: string; description?: string }
}

const rules = (Bun.YAML.parse(alertRules) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
)
const queries = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
const expressions = [...rules.map(({ expr }) => expr), ...queries]

const namesIn = (expr: string): string[] => expr.match(/\b(minimart|process)_[a-z_]+/g) ?? []

describe('the dashboard and the alert rules', () => {
  let families: Family[]
  let series: Map<string, Set<string>>

  beforeAll(async () => {
    const server = await sharedServer('embedded')
    await fetch(`${server.url}/healthz`)
    families = await scrape(`${server.url}/metrics`)
    series = new Map()
    for (const { name, labels } of families.flatMap(({ samples }) => samples))
      series.set(name, new Set([...(series.get(name) ?? []), ...Object.keys(labels)]))
  })

  test('query metrics that exist', () => {
    const asked = new Set(expressions.flatMap(namesIn))
    expect(asked.size).toBeGreaterThan(25)
    expect(
      [...asked].filter(
        (name) =>
          !series.has(name) &&
          !families.some((family) => family.name === name && family.samples.length === 0),
      ),
    ).toEqual([])
  })

  test('use labels that those metrics have', () => {
    const added = new Set(['job', 'instance', 'worker'])
    for (const expr of expressions)
      for (const [, name = '', selector = ''] of expr.matchAll(
        /\b((?:minimart|process)_[a-z_]+)\{([^}]*)\}/g,
      ))
        for (const [, label = ''] of selector.matchAll(/([a-z]+)\s*(?:=|!)/g)) {
          const known = added.has(label) || series.get(name)?.has(label)
          expect(`${name}{${label}} ${known}`).toBe(`${name}{${label}} true`)
        }
    for (const expr of expressions)
      for (const [, labels = ''] of expr.matchAll(/\bby \(([^)]*)\)/g))
        for (const label of labels.split(',').map((label) => label.trim())) {
          const known =
            added.has(label) ||
            ['le', 'version', 'what'].includes(label) ||
            namesIn(expr).some((name) => series.get(name)?.has(label))
          expect(`${label} in ${expr}: ${known}`).toBe(`${label} in ${expr}: true`)
        }
  })

  test('cover every metric except those that only annotate another', () => {
    const asked = new Set(
      expressions.flatMap(namesIn).map((name) => name.replace(/_(bucket|count|sum)$/, '')),
    )
    const unseen = families.map(({ name }) => name).filter((name) => !asked.has(name))
    expect(unseen).toEqual(['minimart_backend_info'])
  })

  test('take rates of counters only, and quantiles of histograms by le', () => {
    const typeOf = (name: string): string | undefined =>
      families.find((family) => family.name === name.replace(/_(bucket|count|sum)$/, ''))?.type
    for (const expr of expressions) {
      for (const [, name = ''] of expr.matchAll(/(?:rate|increase)\(\s*([a-z_]+)/g))
        expect(`${name} ${typeOf(name)}`).toMatch(/ (counter|histogram)$/)
      if (expr.includes('histogram_quantile')) expect(expr).toMatch(/by \([^)]*\ble\)[\s\S]*_bucket/)
      expect(expr.split('(').length).toBe(expr.split(')').length)
      expect(expr.split('{').length).toBe(expr.split('}').length)
    }
  })

  test('can be imported: the data source is an input, and no panels overlap', () => {
    expect(dashboard.__inputs.map(({ name }) => name)).toEqual(['DS_PROMETHEUS'])
    expect(dashboard.templating.list.map(({ name }) => name)).toEqual(['job', 'instance'])
    const { panels } = dashboard
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    for (const { title, type, targets = [], gridPos } of panels) {
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24)
      expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length)
      for (const { datasource } of targets) expect(datasource.uid).toBe('${'.concat('DS_PROMETHEUS}'))
      if (type !== 'row') expect(`${title}: ${targets.length > 0}`).toBe(`${title}: true`)
      for (const { expr } of targets) expect(expr).toContain('job=~"$job",instance=~"$instance"')
    }
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)}/${y + Math.floor(cell / w)}`),
    )
    expect(new Set(cells).size).toBe(cells.length)
  })

  test('give each alert a severity and say what to do about it', () => {
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length)
    for (const { alert, labels, annotations } of rules) {
      expect(alert).toMatch(/^MiniMart[A-Za-z]+$/)
      expect(labels.severity).toMatch(/^(critical|warning)$/)
      expect(annotations.summary.length).toBeGreaterThan(10)
    }
    for (const topic of [
      /Errors/,
      /Slow/,
      /EventLoop/,
      /Pool/,
      /Healed/,
      /Mail/,
      /Housekeeping/,
      /NotReady/,
      /Delivered/,
    ])
      expect(rules.some(({ alert }) => topic.test(alert))).toBe(true)
  })
})
