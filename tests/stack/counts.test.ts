import { expect, test } from 'vitest'
import { countVitest, lastCounts } from '../../scripts/support/counts.ts'

const file = (status: string, ...tests: string[]) => ({ status, assertionResults: tests.map((status) => ({ status })) })

test('tests are counted, and files that failed without a failed test', () => {
  const testResults = [
    file('passed', 'passed'),
    file('failed', 'passed', 'failed'),
    file('failed'),
    file('failed', 'passed'),
  ]
  expect(countVitest({ numPassedTests: 3, numFailedTests: 1, testResults }, 1)).toEqual({ passed: 3, failed: 3 })
})

test('an exit code that nothing explains is a failure', () => {
  const report = { numPassedTests: 2, numFailedTests: 0, testResults: [file('passed', 'passed', 'passed')] }
  expect(countVitest(report, 0)).toEqual({ passed: 2, failed: 0 })
  expect(countVitest(report, 1)).toEqual({ passed: 2, failed: 1 })
})

test('the last line of counts is the one that matters', () => {
  expect(lastCounts('1 passed, 2 failed\nmore\n3 passed, 0 failed\n')).toEqual({ passed: 3, failed: 0 })
  expect(lastCounts('about 3 passed, 0 failed today')).toBeNull()
})
