/** Whether this is a run of `bun run test:long`. */
export const isLong = process.env['MINIMART_LONG'] === '1'

/**
 * How often a test repeats what depends on chance: a few times in the suite, many in `bun run test:long`, or
 * MINIMART_`name`_ROUNDS times.
 */
export const rounds = (name: string, { suite, long }: { suite: number; long: number }): number =>
  Number(process.env[`MINIMART_${name}_ROUNDS`] ?? (isLong ? long : suite))

/** The seed of a randomized test; MINIMART_`name`_SEED repeats one that failed. */
export const seedOf = (name: string): number =>
  Number(process.env[`MINIMART_${name}_SEED`] ?? Date.now() % 2 ** 31)

/** What a long run did, besides whether it passed. */
export function report(what: string): void {
  if (isLong) console.log(what)
}
