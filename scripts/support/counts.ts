export type Counts = { passed: number; failed: number }

/** The part of vitest's JSON report that is counted. */
export type VitestReport = {
  numPassedTests: number
  numFailedTests: number
  testResults: { status: string; assertionResults: { status: string }[] }[]
}

/**
 * Tests passed and failed. A file that failed without a failed test (it could not be loaded, a hook threw) counts as
 * one failure, and so does an exit code other than 0 that nothing else explains (an unhandled error).
 */
export function countVitest(report: VitestReport, exitCode: number): Counts {
  const brokenFiles = report.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
  ).length
  const failed = report.numFailedTests + brokenFiles
  return { passed: report.numPassedTests, failed: failed === 0 && exitCode !== 0 ? 1 : failed }
}

/** The last line of the form `N passed, N failed`. Null: there is none. */
export function lastCounts(output: string): Counts | null {
  const match = [...output.matchAll(/^(\d+) passed, (\d+) failed$/gm)].at(-1)
  return match ? { passed: Number(match[1]), failed: Number(match[2]) } : null
}
