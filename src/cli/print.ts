import { diskFault } from '../data-dir/disk-error.ts'
import { OperatorError } from '../errors.ts'

/**
 * Prints a command's result and resolves once all of it is written: output cut short, by a full disk perhaps, must not
 * look like success.
 * @throws OperatorError
 */
export function print(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(`${text}\n`, (error) => (error ? reject(notPrinted(error)) : resolve()))
  })
}

// The callback above has the error; without a listener it would also end the process.
process.stdout.on('error', () => undefined)

const notPrinted = (error: Error): OperatorError =>
  new OperatorError(`Standard output ${diskFault(error) ?? `fails: ${error.message}`}`, { cause: error })
