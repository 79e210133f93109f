/** Imported with `{ type: 'text' }`: the contents of the file. */
declare module '*.yml' {
  const text: string
  export default text
}
