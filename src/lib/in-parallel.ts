/** Does `work` for each item, `limit` at a time. Rejects with the first failure; no further item is begun then. */
export async function inParallel<T>(
  limit: number,
  items: Iterable<T>,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = items[Symbol.iterator]()
  let failed = false
  const next = async (): Promise<void> => {
    for (let item = waiting.next(); !item.done && !failed; item = waiting.next())
      await work(item.value).catch((error: unknown) => {
        failed = true
        throw error
      })
  }
  await Promise.all(Array.from({ length: limit }, next))
}
