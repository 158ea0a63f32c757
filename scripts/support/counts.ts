export type Counts = { passed: number; failed: number }

/** The part of vitest's JSON report that is counted. */
export type VitestReport = {
  numPassedTests: number
  numFailedTests: number
  testResults: { name: string; status: string; assertionResults: { status: string; fullName: string }[] }[]
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

const FEW_FILES = 3

/**
 * The files to run once more, alone, when a run failed in a few of them only: on two shared cores a test can fail of
 * what runs beside it. Empty when everything passed, or when what failed is more than that or lies in no file.
 */
export function filesToTryAlone(report: VitestReport): string[] {
  const failed = report.testResults.filter(({ status }) => status === 'failed').map(({ name }) => name)
  return failed.length <= FEW_FILES ? failed : []
}

/** What failed, by file and test, to be said aloud when it passes alone. */
export function namesOfFailed(report: VitestReport): string[] {
  return report.testResults
    .filter(({ status }) => status === 'failed')
    .flatMap(({ name, assertionResults }) => {
      const tests = assertionResults.filter(({ status }) => status === 'failed')
      return tests.length === 0 ? [name] : tests.map(({ fullName }) => `${name} > ${fullName}`)
    })
}

/** The counts of a run whose failed files were run again: theirs are those of the second run. */
export function countAgain(first: VitestReport, again: Counts): Counts {
  const others = first.testResults.filter(({ status }) => status !== 'failed')
  const passed = others.flatMap((file) => file.assertionResults).filter(({ status }) => status === 'passed').length
  return { passed: passed + again.passed, failed: again.failed }
}

/** The last line of the form `N passed, N failed`. Null: there is none. */
export function lastCounts(output: string): Counts | null {
  const match = [...output.matchAll(/^(\d+) passed, (\d+) failed$/gm)].at(-1)
  return match ? { passed: Number(match[1]), failed: Number(match[2]) } : null
}
