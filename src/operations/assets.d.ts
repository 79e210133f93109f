/** Imported with `{ type: 'text' }`: the file's contents. */
declare module '*.yml' {
  const text: string
  export default text
}
