/** Pieces of PromQL for the dashboard, each narrowed to the jobs and instances that are chosen in it. */
export const of = (name: string, ...more: string[]): string =>
  `${name}{${['job=~"$job"', 'instance=~"$instance"', ...more].join(',')}}`
/** Workers of one instance as one. */
export const ofInstances = (name: string, by: string, ...more: string[]): string =>
  `min by (job, instance${by}) (${of(name, ...more)})`
export const rate = (name: string, ...more: string[]): string =>
  `rate(${of(name, ...more)}[$__rate_interval])`
export const sumRate = (name: string, by = '', ...more: string[]): string =>
  `sum${by === '' ? '' : ` by (${by})`} (${rate(name, ...more)})`
export const quantile = (q: number, histogram: string, by = '', ...more: string[]): string =>
  `histogram_quantile(${q}, sum by (${by === '' ? '' : `${by}, `}le) (${rate(`${histogram}_bucket`, ...more)}))`
export const quantiles = (histogram: string, ...more: string[]): [expression: string, legend: string][] =>
  [0.5, 0.95, 0.99].map((q) => [quantile(q, histogram, '', ...more), `p${q * 100}`])
