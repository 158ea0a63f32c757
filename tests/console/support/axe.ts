import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { AxeResults, RunOptions } from 'axe-core'
import type { Page } from 'playwright-core'

const SOURCE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/**
 * What axe finds on the page as it is now: violations of WCAG 2.2 A and AA that are serious or critical, one line for
 * each element. It is run through the debugger, which the page's Content-Security-Policy does not concern.
 */
export const accessibilityProblems = async (page: Page): Promise<string[]> => {
  await page.evaluate(SOURCE)
  const options: RunOptions = {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'],
    resultTypes: ['violations'],
    // It would fetch style sheets to look into them; ours are of the same origin and can be read as they are.
    preload: false,
  }
  const results = (await page.evaluate(
    (given) => (globalThis as unknown as { axe: { run(options: unknown): Promise<unknown> } }).axe.run(given),
    options,
  )) as AxeResults
  return results.violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, help, nodes }) =>
      nodes.map(
        ({ html, failureSummary }) => `${id}: ${help}\n  ${html}\n  ${failureSummary?.replaceAll('\n', '\n  ')}`,
      ),
    )
}
