/** Gauges and counters collected on scrape, for values that are kept elsewhere. */
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

/** `value` must never decrease while the process lives. */
export function counter(registry: Registry, name: string, help: string, value: () => number): void {
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

/** One series for each entry of the map, with its key as the value of `label`. */
export function counters<Key extends string | number>(
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

/** Series that `values` no longer returns disappear. */
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

/** Constant facts as labels; the value is always 1. */
export function info(registry: Registry, name: string, help: string, labels: Record<string, string>): void {
  new Gauge({ name, help, labelNames: Object.keys(labels), registers: [registry] }).set(labels, 1)
}
