/** An import with `{ type: 'file' }` is a path, one with `{ type: 'text' }` the contents. */
declare module '*.wasm' {
  const path: string
  export default path
}
declare module '@electric-sql/pglite/pglite.data' {
  const path: string
  export default path
}
declare module '*.sql' {
  const text: string
  export default text
}
