import { diskFault } from '../data-dir/disk-error.ts'
import { OperatorError } from '../errors.ts'

/**
 * A command's result, on standard output: there as a whole when this resolves. What is cut short, on a full disk
 * perhaps, must not look like success.
 * @throws OperatorError
 */
export function print(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(`${text}\n`, (error) => (error ? reject(notPrinted(error)) : resolve()))
  })
}

// The callback above has it; without a listener it would end the process as well.
process.stdout.on('error', () => undefined)

const notPrinted = (error: Error): OperatorError =>
  new OperatorError(`Standard output ${diskFault(error) ?? `fails: ${error.message}`}`, { cause: error })
