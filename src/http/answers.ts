/**
 * Responses of the API. Bodies come as JSON text, mostly written by the database, and go out as they are. They hold
 * what only the caller may see, so nothing on the way may store them.
 */
const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' }

export interface AnswerOptions {
  status?: number
  /** An entity tag without its quotes, e.g. `3` or `seq-42`. */
  tag?: string | number
  location?: string
}

export const json = (
  body: string | ReadableStream | null,
  { status = 200, tag, location }: AnswerOptions = {},
): Response =>
  new Response(body, {
    status,
    headers: {
      ...headers,
      ...(tag === undefined ? {} : { etag: `"${tag}"` }),
      ...(location === undefined ? {} : { location }),
    },
  })

export const noContent = (): Response => new Response(null, { status: 204 })

export const notModified = (tag: string): Response =>
  new Response(null, { status: 304, headers: { etag: `"${tag}"`, 'cache-control': 'no-store' } })
