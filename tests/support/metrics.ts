/** Parses Prometheus' text format, as strictly as promtool. */
import { expect } from 'bun:test'
import type { TestServer } from './server.ts'

export interface Sample {
  name: string
  labels: Record<string, string>
  value: number
}

export interface Family {
  name: string
  help: string
  type: string
  samples: Sample[]
}

const sampleLine = /^([a-z_][a-z0-9_]*)(?:\{(.*)\})? (\S+)$/

/** @throws Error for a malformed line, and for samples not preceded by their family's HELP and TYPE */
export function parseMetrics(text: string): Family[] {
  const families: Family[] = []
  for (const line of text.split('\n').filter((line) => line !== '')) {
    const [, help, helpText = ''] = /^# HELP (\S+) (.*)$/.exec(line) ?? []
    const [, , type] = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line) ?? []
    const family = families.at(-1)
    if (help !== undefined) families.push({ name: help, help: helpText, type: '', samples: [] })
    else if (type !== undefined && family) family.type = type
    else {
      const [, name = '', labels = '', value = ''] = sampleLine.exec(line) ?? []
      const base = family?.type === 'histogram' ? name.replace(/_(bucket|sum|count)$/, '') : name
      if (!family || base !== family.name || value === '') throw new Error(`no metric: ${line}`)
      family.samples.push({
        name,
        labels: parseLabels(labels),
        value: value === '+Inf' ? Infinity : Number(value),
      })
    }
  }
  return families
}

const parseLabels = (text: string): Record<string, string> =>
  Object.fromEntries(
    [...text.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)].map(([, name = '', value = '']) => [name, value]),
  )

export async function scrape(url: string, headers: Record<string, string> = {}): Promise<Family[]> {
  const response = await fetch(url, { headers: { connection: 'close', ...headers } })
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toStartWith('text/plain')
  return parseMetrics(await response.text())
}

/** The figures as they are now; a scrape may show those of a second ago. */
export const figuresNow = async ({ running }: TestServer): Promise<Family[]> =>
  parseMetrics(await running.deps.metrics.text())

/** Sum over all series of this name with these labels. */
export const sumOf = (families: Family[], name: string, labels: Record<string, string> = {}): number =>
  families
    .flatMap(({ samples }) => samples)
    .filter((sample) => sample.name === name)
    .filter((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
    .reduce((sum, { value }) => sum + value, 0)

export const seriesOf = (families: Family[]): string[] =>
  families
    .flatMap(({ samples }) => samples)
    .map(({ name, labels }) => `${name}${JSON.stringify(Object.entries(labels).sort())}`)
    .sort()
