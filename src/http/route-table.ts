import type { RouteTable } from './errors.ts'

interface Route {
  method: string
  path: string
}

/** The methods that a path supports, by the routes' own patterns. OPTIONS exists for every path and does not count. */
export function routeTable(routes: readonly Route[]): RouteTable {
  const patterns = routes
    .filter(({ method }) => method !== 'OPTIONS')
    .map(({ method, path }) => ({ method, pattern: patternOf(path) }))
  return {
    methodsOf(path) {
      const bare = path.length > 1 ? path.replace(/\/$/, '') : path
      const methods = new Set(
        patterns.filter(({ pattern }) => pattern.test(bare)).map(({ method }) => method),
      )
      if (methods.has('GET')) methods.add('HEAD')
      return [...methods].sort()
    },
  }
}

const patternOf = (path: string): RegExp => {
  const parts = path.replace(/(?<=.)\/$/, '').split('/')
  const source = parts.map((part) =>
    part.startsWith(':') ? '[^/]+' : part === '*' ? '.*' : RegExp.escape(part),
  )
  return new RegExp(`^${source.join('/')}$`)
}
