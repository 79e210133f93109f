/** A page of a headless Chromium, driven by Playwright. */
import { chromium as driver, type Page } from 'playwright-core'
import { until } from './until.ts'

/** The Chromium executable; null if there is none. */
export const chromium = Bun.which('chromium') ?? Bun.which('chromium-browser') ?? Bun.which('google-chrome')

export interface Browser {
  readonly page: Page
  /** Uncaught exceptions, and violations of the content security policy. */
  readonly faults: readonly string[]
  close(): Promise<void>
}

const launchMs = 20_000
const readsWithinMs = 5000
/** Tests may run as root, which Chromium's sandbox refuses; the rest disables its background network traffic. */
const args = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
]

export async function openBrowser(executablePath: string): Promise<Browser> {
  const browser = await driver.launch({ executablePath, args, timeout: launchMs })
  const page = await browser.newPage()
  const faults: string[] = []
  page.on('pageerror', ({ message }) => faults.push(message))
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) faults.push(message.text())
  })
  return { page, faults, close: () => browser.close() }
}

/** Waits until the page shows the text, which may span elements. */
export async function reads(page: Page, text: string): Promise<void> {
  let shown = ''
  await until(
    async () => {
      // biome-ignore lint/performance/useDomNodeTextContent: what is hidden is not read.
      shown = await page.innerText('body')
      return shown.includes(text)
    },
    () => `“${text}”, where the page reads “${shown}”,`,
    readsWithinMs,
  )
}
