import type { BrowserContext, Page } from 'playwright-core'

/** Something a window of the console must not do. */
export type Problem = {
  kind: 'console error' | 'page error' | 'policy violation' | 'foreign request' | 'crash'
  text: string
}

/** The browser's own line about an answer of 4xx, which the console tells its user in its own words. */
const REFUSED_REQUEST = /^Failed to load resource: the server responded with a status of 4\d\d/

/** Whether an address lies on the stack, or is none that the network would be asked for. */
const isOwn = (address: string, hosts: string[]): boolean => {
  const url = new URL(address)
  return ['data:', 'blob:', 'about:'].includes(url.protocol) || hosts.includes(url.host)
}

/** Collects what the pages of a context do wrong, from now on. @param hosts that are not foreign, e.g. 127.0.0.1:54321 */
export const collectProblems = async (context: BrowserContext, hosts: string[]): Promise<Problem[]> => {
  const problems: Problem[] = []
  const add = (kind: Problem['kind'], text: string) => void problems.push({ kind, text })

  await context.exposeFunction('reportPolicyViolation', (text: string) => add('policy violation', text))
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sourceFile, lineNumber }) => {
      const report = (globalThis as unknown as { reportPolicyViolation(text: string): void }).reportPolicyViolation
      report(`${violatedDirective} blocked ${blockedURI || 'inline'} (${sourceFile}:${lineNumber})`)
    })
  })
  context.on('request', (request) => {
    if (!isOwn(request.url(), hosts)) add('foreign request', request.url())
  })
  context.on('console', (message) => {
    if (message.type() !== 'error' || REFUSED_REQUEST.test(message.text())) return
    add('console error', `${message.text()} (${message.location().url})`)
  })
  context.on('weberror', (error) => add('page error', error.error().stack ?? error.error().message))
  const watch = (page: Page) => {
    page.on('crash', () => add('crash', page.url()))
    page.on('websocket', (socket) => {
      if (!isOwn(socket.url(), hosts)) add('foreign request', socket.url())
    })
  }
  context.on('page', watch)
  return problems
}
