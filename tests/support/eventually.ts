/**
 * Repeats an expectation until it holds; after `timeoutMs` its last error is thrown. Between two looks it waits as
 * long as a look takes, within bounds: to look is work for the same processors as what is waited for.
 */
export async function eventually<T>(check: () => T | Promise<T>, timeoutMs = 15_000): Promise<T> {
  const end = Date.now() + timeoutMs
  for (;;) {
    const begun = Date.now()
    try {
      return await check()
    } catch (error) {
      const now = Date.now()
      if (now > end) throw error
      const pause = Math.min(Math.max(50, now - begun), 250)
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
  }
}
