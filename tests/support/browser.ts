/** One page of a headless Chromium, driven over its debugging protocol: enough to use a form and read what it says. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const chromium = Bun.which('chromium') ?? Bun.which('chromium-browser') ?? Bun.which('google-chrome')

export interface BrowserPage {
  open(url: string): Promise<void>
  /** The value of a JavaScript expression in the page, as JSON carries it. */
  evaluate(expression: string): Promise<unknown>
  fill(id: string, text: string): Promise<void>
  click(selector: string): Promise<void>
  /** Polls until the page shows the text; throws with what it shows after five seconds. */
  reads(text: string): Promise<void>
  /** Exceptions, and what the content security policy stopped. */
  readonly faults: readonly string[]
  close(): Promise<void>
}

type Answer = Record<string, unknown>

export async function openBrowser(program: string): Promise<BrowserPage> {
  const profile = await mkdtemp(join(tmpdir(), 'minimart-browser-'))
  const browser = Bun.spawn(
    [
      program,
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--remote-debugging-port=0',
      `--user-data-dir=${profile}`,
    ],
    { stdout: 'ignore', stderr: 'pipe' },
  )
  const socket = new WebSocket(await debuggingUrl(browser.stderr))
  await new Promise((resolve, reject) => {
    socket.onopen = resolve
    socket.onerror = reject
  })
  const faults: string[] = []
  const call = protocol(socket, faults)
  const { targetId } = await call('Target.createTarget', { url: 'about:blank' })
  const { sessionId } = await call('Target.attachToTarget', { targetId, flatten: true })
  const page = (method: string, params: Answer = {}) => call(method, params, sessionId)
  await page('Page.enable')
  await page('Runtime.enable')
  await page('Log.enable')

  const evaluate = async (expression: string): Promise<unknown> => {
    const { result } = await page('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true })
    return typeof result === 'object' && result !== null && 'value' in result ? result.value : undefined
  }
  const until = async (expression: string): Promise<void> => {
    const deadline = performance.now() + 5000
    while ((await evaluate(expression)) !== true) {
      if (performance.now() > deadline)
        throw new Error(
          `never: ${expression}\n${await evaluate('document.body.innerText')}\n${faults.join('\n')}`,
        )
      await Bun.sleep(10)
    }
  }
  return {
    faults,
    evaluate,
    open: async (url) => {
      await page('Page.navigate', { url })
      await until(
        `document.readyState === 'complete' && location.href.startsWith(${JSON.stringify(url.split('?')[0])})`,
      )
    },
    fill: async (id, text) => {
      await evaluate(`document.getElementById('${id}').value = ${JSON.stringify(text)}`)
    },
    click: async (selector) => {
      const button = `document.querySelector(${JSON.stringify(selector)})`
      await until(`${button}?.checkVisibility() === true && !${button}.disabled`)
      await evaluate(`${button}.click()`)
    },
    reads: (text) => until(`document.body.innerText.includes(${JSON.stringify(text)})`),
    close: async () => {
      socket.close()
      browser.kill()
      await browser.exited
      await rm(profile, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

/** Chromium prints where it listens. */
async function debuggingUrl(output: ReadableStream<Uint8Array>): Promise<string> {
  const reader = output.getReader()
  let printed = ''
  for (;;) {
    const { value, done } = await reader.read()
    printed += new TextDecoder().decode(value)
    const [url] = /ws:\/\/\S+/.exec(printed) ?? []
    if (url !== undefined) return url
    if (done) throw new Error(`the browser did not start: ${printed}`)
  }
}

function protocol(socket: WebSocket, faults: string[]) {
  const waiting = new Map<number, (answer: Answer) => void>()
  let last = 0
  socket.onmessage = ({ data }) => {
    const message: unknown = JSON.parse(String(data))
    if (!isObject(message)) return
    if (typeof message['id'] === 'number')
      waiting.get(message['id'])?.(isObject(message['result']) ? message['result'] : message)
    const told = JSON.stringify(message['params'] ?? '')
    if (message['method'] === 'Runtime.exceptionThrown' || told.includes('Content Security Policy'))
      faults.push(told.slice(0, 500))
  }
  return (method: string, params: Answer, sessionId?: unknown): Promise<Answer> =>
    new Promise((resolve) => {
      waiting.set(++last, resolve)
      socket.send(JSON.stringify({ id: last, method, params, sessionId }))
    })
}

const isObject = (value: unknown): value is Answer => typeof value === 'object' && value !== null
