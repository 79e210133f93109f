/** How a figure is told that is kept elsewhere: it is read when somebody asks for it. */
import { Counter, Gauge, type Registry } from 'prom-client'

export function gauge(registry: Registry, name: string, help: string, value: () => number): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(value())
    },
  })
}

/** A count that never goes down while the process lives. */
export function total(registry: Registry, name: string, help: string, value: () => number): void {
  new Counter({
    name,
    help,
    registers: [registry],
    collect() {
      this.reset()
      this.inc(value())
    },
  })
}

/** As many counts as the map has entries, each with its key as the label. */
export function totals<Key extends string | number>(
  registry: Registry,
  name: string,
  help: string,
  label: string,
  values: () => ReadonlyMap<Key, number>,
): void {
  new Counter({
    name,
    help,
    labelNames: [label],
    registers: [registry],
    collect() {
      this.reset()
      for (const [key, value] of values()) this.inc({ [label]: key }, value)
    },
  })
}

/** Several figures of one name; what is not given any more is gone. */
export function gauges(
  registry: Registry,
  name: string,
  help: string,
  labelNames: string[],
  values: () => Promise<{ labels: Record<string, string>; value: number }[]>,
): void {
  new Gauge({
    name,
    help,
    labelNames,
    registers: [registry],
    async collect() {
      const found = await values()
      this.reset()
      for (const { labels, value } of found) this.set(labels, value)
    },
  })
}

/** What does not change while the process lives: 1, with words as labels. */
export function info(registry: Registry, name: string, help: string, labels: Record<string, string>): void {
  new Gauge({ name, help, labelNames: Object.keys(labels), registers: [registry] }).set(labels, 1)
}
